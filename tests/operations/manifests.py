"""The Kubernetes manifests, rendered, and what podman needs to run a container as they say."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from operations.podman import call

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("cpu", "gpu", "mig", "time-slicing", "mps")


def pod_of(overlay: str) -> tuple[dict[str, Any], dict[str, Any]]:
    documents = yaml.safe_load_all(rendered(overlay))
    spec = next(each for each in documents if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


def rendered(overlay: str) -> str:
    done = call("kubectl", "kustomize", str(ROOT / "kubernetes/overlays" / overlay))
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The manifest's variables, with what the cluster would put in."""
    found = {"POD_IP": "127.0.0.1", "WHISPER_API_KEY": "a-key-of-the-cluster"}
    for row in container["env"]:
        if "value" in row:
            found[row["name"]] = row["value"].replace("$(POD_IP)", found["POD_IP"])
    return found


@contextmanager
def pod_options(spec: dict[str, Any], container: dict[str, Any]) -> Iterator[list[str]]:
    """podman's options for the manifest's security context, limits and volumes; what they can't say is an error."""
    pod, own = spec["securityContext"], container["securityContext"]
    if not (
        own["readOnlyRootFilesystem"]
        and own["capabilities"]["drop"] == ["ALL"]
        and not own["allowPrivilegeEscalation"]
        and pod["runAsNonRoot"]
    ):
        raise RuntimeError(f"The manifest's security context has changed: {own}")
    options = ["--user", f"{pod['runAsUser']}:{pod['runAsGroup']}"]
    options += ["--memory", container["resources"]["limits"]["memory"].replace("Gi", "g")]
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        for mount in container["volumeMounts"]:
            if mount["mountPath"] != "/tmp":
                folder = Path(parent, mount["name"])
                folder.mkdir()
                # As a kubelet lays out a volume for an fsGroup.
                os.chown(folder, 0, pod["fsGroup"])
                folder.chmod(0o2770)
                options += ["--volume", f"{folder}:{mount['mountPath']}"]
        yield options
