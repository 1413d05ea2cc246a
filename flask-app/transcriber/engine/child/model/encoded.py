"""What the encoder made of a batch, and where it lies: the evidence of where the work ran."""

from __future__ import annotations

from collections.abc import Sequence

import ctranslate2
import numpy as np

from ..arrays import Features


class Encoded:
    """The encoder's output for one batch. `device` is where it lies: the evidence of where the work ran."""

    def __init__(self, view: ctranslate2.StorageView, device: str | None = None) -> None:
        self._view = view
        self._wide: ctranslate2.StorageView | None = None
        self._host: Features | None = None
        self.device: str = device or str(view.device)

    @classmethod
    def joined(cls, views: Sequence[ctranslate2.StorageView]) -> Encoded:
        """The outputs of several passes on one device that the host can read, as one batch."""
        if len(views) == 1:
            return cls(views[0])
        whole = np.concatenate([np.asarray(view) for view in views])
        return cls(ctranslate2.StorageView.from_array(whole), str(views[0].device))

    @property
    def rows(self) -> int:
        return int(self._view.shape[0])

    @property
    def address(self) -> int | None:
        """Where it begins in the GPU's memory; None in the host's."""
        if self.device == "cpu":
            return None
        try:
            interface = self._view.__cuda_array_interface__
        except (AttributeError, RuntimeError, TypeError, ValueError):
            # bfloat16 has no place in the interface. The copy lies where the original does, and is kept as long.
            self._wide = self._view.to(ctranslate2.DataType.float32)
            interface = self._wide.__cuda_array_interface__
        return int(interface["data"][0])

    def select(self, rows: Sequence[int]) -> ctranslate2.StorageView:
        """These rows. All of them stay where they are; some go through the host, as there is no slicing."""
        if list(rows) == list(range(self.rows)):
            return self._view
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(self.host()[list(rows)]))

    def host(self) -> Features:
        """The numbers in the host's memory."""
        if self._host is None:
            view = self._view.to(ctranslate2.DataType.float32)
            if self.device != "cpu":
                view = view.to_device(ctranslate2.Device.cpu)
            self._host = np.array(view)
        return self._host
