"""How maps lie in memory while networks train: channels last, which convolutions are faster with.

`x.view(x.size(0), -1)` before a first linear layer, which many networks have, then fails: no view
of such memory has that shape. A copy has it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode


def lay_channels_last(model: nn.Module) -> None:
    """Lay the weights of convolutions as pictures are, see `as_floats`.

    `Module.to` cannot: it fails on a weight of five axes.
    """
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


class ViewsMayCopy(TorchFunctionMode):
    """Gives a view where there is one, and otherwise a copy of that shape."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is Tensor.view and not given and not isinstance(args[1], torch.dtype):
            return args[0].reshape(*args[1:])
        return func(*args, **given)


class Half(fx.GraphModule):
    """One side of a cut: the user's code in it runs as it does in the whole network."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with ViewsMayCopy():
            return super().__call__(*args, **kwargs)
