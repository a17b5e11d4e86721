"""What holds on a device that is not a processor, as far as a processor can show it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tests.rl.experience import lidar_spec, picture_spec
from tests.rl.learning import SMALL, filled, train
from tmrld.payloads import EnvSpec
from tmrld.rl import devices, normaliser, sac, snapshots, temperature, tqc
from tmrld.rl.algorithm import ALGORITHMS, make_algorithm
from tmrld.rl.optimizers import PlainDescent
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC

ALL = pytest.mark.parametrize("name", ALGORITHMS)
NATURE = NetworkOptions(hidden=(16, 16), cnn="nature")


def made(name: str, network: NetworkOptions = SMALL, spec: EnvSpec | None = None, device: str = "cpu", **options: Any) -> SAC:
    algorithm = make_algorithm(AlgorithmOptions(name=name, **options), network, spec or lidar_spec(), 0, device)
    assert isinstance(algorithm, SAC)
    return algorithm


# A device other than the processor


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> str:
    """A device where tensors have shapes alone.  What lies elsewhere does not mix with them, and reading one raises.

    It has neither random numbers nor fused optimizers: those are another device's.
    """
    monkeypatch.setattr(sac, "Generator", lambda device="cpu": Generator())
    monkeypatch.setattr(sac, "make_optimizer", lambda name, parameters, descent: PlainDescent(parameters, descent))
    monkeypatch.setattr(temperature, "Adam", PlainDescent)
    return "meta"


@ALL
@pytest.mark.parametrize(("spec", "network"), [(lidar_spec(), SMALL), (picture_spec((36, 36), history=2), NATURE)])
def test_an_update_happens_on_the_device_alone_and_reads_nothing_from_there(
    name: str, spec: EnvSpec, network: NetworkOptions, meta: str
) -> None:
    algorithm = made(name, network, spec, meta, policy_interval=1)

    train(algorithm, filled(spec, 30), 3, np.random.default_rng(0))

    tensors = [tensor for module in algorithm._networks().values() for tensor in module.state_dict().values()]
    assert {tensor.device.type for tensor in [*tensors, algorithm.temperature.alpha]} == {"meta"}
    with pytest.raises((RuntimeError, NotImplementedError)):
        algorithm.stats()


# A device without float64


def test_apple_s_gpu_has_no_float64() -> None:
    kinds = {kind: devices.widest_float(torch.device(kind)) for kind in ("cpu", "cuda", "mps")}
    assert kinds == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The processor as a device that has float32 at most."""
    for module in (normaliser, tqc):
        monkeypatch.setattr(module, "widest_float", lambda device: torch.float32)
    return monkeypatch


@ALL
def test_where_there_is_no_float64_it_learns_nearly_the_same_without(name: str, narrow: pytest.MonkeyPatch) -> None:
    replay, (there, here) = filled(lidar_spec()), (made(name), made(name))
    train(there, replay, 5, np.random.default_rng(1))
    assert all(array.dtype != np.float64 for array in there.state()[0].values())

    narrow.undo()
    here = made(name)
    train(here, replay, 5, np.random.default_rng(1))
    for tensor, value in here.policy_tensors().items():
        np.testing.assert_allclose(there.policy_tensors()[tensor], value, atol=1e-4, err_msg=tensor)


def test_a_run_goes_on_where_there_is_no_float64_and_comes_back(narrow: pytest.MonkeyPatch) -> None:
    replay, there = filled(lidar_spec()), made("tqc")
    train(there, replay, 5, np.random.default_rng(1))
    narrow.undo()
    here = made("tqc")
    here.restore(*there.state())
    assert here.normaliser.mean.dtype == torch.float64
    np.testing.assert_array_equal(here.normaliser.mean.numpy(), there.normaliser.mean.numpy())
    there.restore(*here.state())
    train(there, replay, 1, np.random.default_rng(2))


@pytest.mark.parametrize("offset", [0.0, -500.0, 200.0])
def test_the_loss_of_tqc_is_right_without_float64(offset: float, narrow: pytest.MonkeyPatch) -> None:
    generator = Generator().manual_seed(0)
    values = 3.0 * torch.randn(5, 25, 16, generator=generator) + offset
    target = 3.0 * torch.randn(115, 16, generator=generator).sort(dim=0).values + offset
    values.requires_grad_()

    def loss_and_gradient() -> tuple[Tensor, Tensor]:
        loss = tqc.quantile_loss(values, target)
        return loss.detach(), torch.autograd.grad(loss, values)[0] * values.numel()

    there = loss_and_gradient()
    narrow.undo()
    here = loss_and_gradient()

    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


# Another device


def test_the_random_state_of_another_kind_of_device_seeds_what_is_here(caplog: pytest.LogCaptureFixture) -> None:
    there = np.arange(16, dtype=np.uint8)  # as large as that of a card
    first, second = Generator().manual_seed(1), Generator().manual_seed(2)

    for generator in (first, second):
        snapshots.restore_generator(generator, there)

    assert torch.equal(torch.randn(5, generator=first), torch.randn(5, generator=second))
    assert "made on another kind of device" in caplog.text
    snapshots.restore_generator(second, there + 1)
    assert not torch.equal(torch.randn(5, generator=first), torch.randn(5, generator=second))
