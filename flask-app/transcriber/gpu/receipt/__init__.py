"""The evidence of one job, and the receipt that is made of it."""
