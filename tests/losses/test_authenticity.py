import numpy as np
import pytest
import torch

from bonaface.errors import ConfigError
from bonaface.losses import AuthenticityLoss


def test_authenticity_equals_its_definition():
    logits, fake, smoothing = [2.0, -1.0, 0.3, -4.0], [False, False, True, True], 0.1
    expected = 0.0
    for z, f in zip(logits, fake, strict=True):
        target = smoothing / 2 if f else 1 - smoothing / 2
        expected += -target * np.log(1 / (1 + np.exp(-z))) - (1 - target) * np.log(1 / (1 + np.exp(z)))
    value, active = AuthenticityLoss(smoothing)(torch.tensor(logits), torch.tensor(fake))
    assert value.item() == pytest.approx(expected / 4, rel=1e-6)
    assert active.item() == 0.5


def test_authenticity_gradient_and_edges():
    fake = torch.tensor([True, False, True])
    z = torch.tensor([0.4, -2.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda logits: AuthenticityLoss()(logits, fake).value, (z,))
    far = torch.tensor([1e6, -1e6, 3.0], requires_grad=True)
    value, active = AuthenticityLoss()(far, fake)
    value.backward()
    assert value.isfinite()
    assert far.grad.isfinite().all()
    assert active.item() == 1
    none = AuthenticityLoss()(torch.zeros(0, requires_grad=True), torch.zeros(0, dtype=torch.bool))
    assert none.value.item() == none.active.item() == 0
    with pytest.raises(ValueError, match="size"):
        AuthenticityLoss()(torch.zeros(3, 1), fake)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ConfigError, match="smoothing"):
        AuthenticityLoss(smoothing)
