"""The child that listens: sound of all sessions is decoded here, and where speech starts and ends is found."""
