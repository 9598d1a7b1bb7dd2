from contextlib import nullcontext

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.models.depthwise import FastDepthwise, _Depthwise


@st.composite
def convolutions(draw: st.DrawFn) -> dict:
    """A depthwise convolution and its input; padding below the kernel, as this module takes it, or at its width."""
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    padding = tuple(draw(st.integers(0, k)) for k in kernel)
    size = tuple(draw(st.integers(max(1, k - 2 * edge), 14)) for k, edge in zip(kernel, padding, strict=True))
    return {
        "n": draw(st.integers(1, 3)),
        "channels": draw(st.integers(2, 20)),
        "size": size,
        "kernel": kernel,
        "padding": padding,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**16)),
    }


def tensors(case: dict, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    """Input, weight and bias, of values that bfloat16 has."""
    drawn = torch.Generator().manual_seed(case["seed"])
    shapes = [(case["n"], case["channels"], *case["size"]), (case["channels"], 1, *case["kernel"])]
    shapes += [(case["channels"],)] if case["bias"] else []
    made = [torch.randn(shape, generator=drawn).bfloat16().to(dtype) for shape in shapes]
    return [each.requires_grad_() for each in made]


def trained(case: dict, own: list[torch.Tensor]) -> list[torch.Tensor]:
    """Output and the gradients of all inputs, for an output gradient drawn from the case."""
    made = F.conv2d(*own, stride=case["stride"], padding=case["padding"], groups=case["channels"])
    drawn = torch.randn(made.shape, generator=torch.Generator().manual_seed(case["seed"] + 1)).bfloat16()
    return [made, *torch.autograd.grad(made, own, drawn.to(made.dtype))]


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_values_and_gradients_are_torchs(case):
    """Beside float64 on the same numbers: bfloat16 rounds by 1 in 256, of what is summed as well as of the sum.

    Where padding is as wide as the kernel the convolution is torch's, whose own error may be larger.
    """
    with FastDepthwise():
        got = trained(case, tensors(case))
    torchs, expected = trained(case, tensors(case)), trained(case, tensors(case, torch.float64))
    for ours, theirs, exact in zip(got, torchs, expected, strict=True):
        assert ours.dtype is torch.bfloat16
        rounding = 2**-7 * (exact.abs().max() + exact.abs())
        assert ((ours.double() - exact).abs() <= torch.maximum(rounding, (theirs.double() - exact).abs())).all()


@pytest.mark.parametrize("kernel", [(1, 3), (3, 3), (5, 5)])
def test_weights_that_meet_the_padding_alone_have_no_gradient(kernel):
    """Of an image of one pixel; oneDNN leaves there what the memory held."""
    held = [torch.full((4, 64), float("nan")) for _ in range(200)]  # which it may be given
    del held
    case = {"n": 2, "channels": 8, "size": (1, 1), "kernel": kernel, "padding": tuple(k // 2 for k in kernel)}
    case |= {"stride": (1, 1), "bias": False, "seed": 0}
    with FastDepthwise():
        _, _, gradient = trained(case, tensors(case))
    alone = gradient.clone()
    alone[:, :, kernel[0] // 2, kernel[1] // 2] = 0
    assert (alone == 0).all()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [13, 16])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_as_tensorflows(kernel, stride, size, layout):
    """timm's tf_ networks pad by an odd number of pixels where the stride asks for it."""
    net = timm.layers.create_conv2d(8, 8, kernel, stride=stride, padding="same", depthwise=True)
    exact = timm.layers.create_conv2d(8, 8, kernel, stride=stride, padding="same", depthwise=True).double()
    net = net.bfloat16()
    exact.load_state_dict({name: value.double() for name, value in net.state_dict().items()})
    x = torch.randn(2, 8, size, size, generator=torch.Generator().manual_seed(kernel)).bfloat16()
    x = x.contiguous(memory_format=layout).requires_grad_()
    x_exact = x.detach().double().requires_grad_()
    with FastDepthwise():
        made = net(x)
    reference = exact(x_exact)
    weighing = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    made.backward(weighing)
    reference.backward(weighing.double())
    assert made.shape == reference.shape == (2, 8, -(-size // stride), -(-size // stride))
    for ours, theirs in ((made, reference), (x.grad, x_exact.grad), (net.weight.grad, exact.weight.grad)):
        torch.testing.assert_close(ours.double(), theirs, rtol=2**-7, atol=2**-7 * float(theirs.detach().abs().max()))


def test_a_networks_gradients_are_those_without_it():
    """A whole network under autocast, channels last as it is trained: gradients in float32 that point where torch's own do."""
    torch.manual_seed(0)
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).train()
    net = net.to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 64, 64).contiguous(memory_format=torch.channels_last)

    def gradients(fast: bool) -> torch.Tensor:
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16), FastDepthwise() if fast else nullcontext():
            made = net(images)
        made.float().square().mean().backward()
        assert all(weight.grad.dtype is torch.float32 for weight in net.parameters())
        return torch.cat([weight.grad.flatten() for weight in net.parameters()])

    assert F.cosine_similarity(gradients(True), gradients(False), dim=0) > 0.99


UNTOUCHED = {
    "pointwise": {"weight": (8, 8, 1, 1)},
    "grouped": {"weight": (8, 2, 3, 3), "groups": 4},
    "two kernels a channel": {"weight": (16, 1, 3, 3), "groups": 8},
    "dilated": {"weight": (8, 1, 3, 3), "groups": 8, "dilation": 2},
    "padded by a word": {"weight": (8, 1, 3, 3), "groups": 8, "padding": "same"},
    "padded beyond its kernel": {"weight": (8, 1, 3, 3), "groups": 8, "padding": 3},
    "float32": {"weight": (8, 1, 3, 3), "groups": 8, "dtype": torch.float32},
}


@pytest.mark.parametrize("case", UNTOUCHED.values(), ids=UNTOUCHED)
def test_others_are_left_bit_for_bit(case, monkeypatch):
    monkeypatch.setattr(_Depthwise, "apply", None)  # whoever calls it fails
    case = {"dtype": torch.bfloat16} | case
    shape, dtype = case.pop("weight"), case.pop("dtype")
    drawn = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(each, generator=drawn).to(dtype).requires_grad_() for each in ((2, 8, 9, 9), shape))

    def made() -> list[torch.Tensor]:
        out = F.conv2d(x, weight, **case)
        return [out, *torch.autograd.grad(out.float().square().sum(), [x, weight])]

    plain = made()
    with FastDepthwise():
        ours = made()
    assert all(torch.equal(a, b) for a, b in zip(plain, ours, strict=True))


@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_changes(quiet, monkeypatch):
    monkeypatch.setattr(_Depthwise, "apply", None)
    x, weight = torch.randn(2, 8, 9, 9).bfloat16(), torch.randn(8, 1, 3, 3).bfloat16()
    with quiet():
        plain = F.conv2d(x, weight, groups=8)
        with FastDepthwise():
            assert torch.equal(F.conv2d(x, weight, groups=8), plain)


@pytest.mark.parametrize("frozen", [0, 1])
def test_only_what_asks_for_a_gradient_gets_one(frozen):
    own = [torch.randn(2, 8, 9, 9).bfloat16(), torch.randn(8, 1, 3, 3).bfloat16()]
    own[1 - frozen].requires_grad_()
    with FastDepthwise():
        F.conv2d(*own, groups=8).float().sum().backward()
    assert own[frozen].grad is None
    assert own[1 - frozen].grad.abs().sum() > 0
