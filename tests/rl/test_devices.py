"""What holds on a device that is not a processor, as far as a processor can show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tests.rl.experience import cut_all, lidar_spec, make_episode, picture_spec
from tests.rl.learning import SMALL, assert_same_state, filled, train
from tmrld.payloads import EnvSpec
from tmrld.rl import devices, normaliser, sac, snapshots, temperature, tqc
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.optimizers import PlainDescent
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, NetworkOptions, Precision
from tmrld.rl.replay import Batch, Replay
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

    networks = algorithm._networks()
    tensors = {f"{prefix}.{key}": value for prefix, module in networks.items() for key, value in module.state_dict().items()}
    assert tensors.pop("normaliser.count").device.type == "cpu"  # the processor works with it
    assert {tensor.device.type for tensor in [*tensors.values(), algorithm.temperature.alpha]} == {"meta"}
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


# Hidden layers in bfloat16


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor as a device that computes in bfloat16."""
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)


@pytest.mark.parametrize("has_units", [False, True])
def test_a_processor_with_units_for_it_computes_in_bfloat16_and_apple_s_gpu_never(
    has_units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_units, raising=False)

    found = [devices.has_bfloat16.__wrapped__(torch.device(kind)) for kind in ("cpu", "mps")]

    assert found == [has_units, False]


def test_a_processor_of_which_torch_knows_no_units_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)

    assert devices.has_bfloat16.__wrapped__(torch.device("cpu")) is False


@pytest.mark.parametrize(
    ("asked", "weights", "lowered"),
    [
        ("auto", devices.LARGE, False),
        ("auto", devices.LARGE + 1, True),
        ("bfloat16", 1, True),
        ("float32", devices.LARGE + 1, False),
    ],
)
@pytest.mark.usefixtures("bfloat16")
def test_which_products_round_their_factors_and_that_it_ends_with_them(asked: Precision, weights: int, lowered: bool) -> None:
    seen: list[str] = []

    def product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
        seen.append(torch.get_float32_matmul_precision())
        torch.mm(left, right, out=out)

    multiply = devices.hidden_product(asked, product, weights)
    out = torch.empty(2, 2)
    multiply(torch.ones(2, 3), torch.ones(3, 2), out=out)
    with pytest.raises(RuntimeError):
        multiply(torch.ones(2, 3), torch.ones(2, 3), out=out)

    assert out.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert seen == ["medium" if lowered else "highest"] * 2
    assert torch.get_float32_matmul_precision() == "highest"


def test_where_there_is_no_bfloat16_products_are_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: False)

    assert devices.hidden_product("bfloat16", torch.mm, devices.LARGE + 1) is torch.mm


@pytest.mark.parametrize(
    ("asked", "of_images", "lowered"),
    [("auto", True, True), ("auto", False, False), ("bfloat16", False, True), ("float32", True, False)],
)
@pytest.mark.usefixtures("bfloat16")
def test_which_layers_compute_in_bfloat16(asked: Precision, of_images: bool, lowered: bool) -> None:
    ones = torch.ones(2, 2)
    with devices.hidden_precision(asked, ones.device, of_images=of_images):
        assert ((ones @ ones).dtype == torch.bfloat16) == lowered


@ALL
@pytest.mark.parametrize(
    ("spec", "network"),
    [
        (lidar_spec(), NetworkOptions(hidden=(16, 16), activation="tanh")),
        (lidar_spec(), NetworkOptions(hidden=(16, 16), trunk="simba")),
        (lidar_spec(), NetworkOptions(hidden=(16, 16), trunk="simba2")),
        (lidar_spec(), NetworkOptions(hidden=(16, 16), activation="silu", gru=8)),
        (picture_spec((36, 36), history=2), NATURE),
    ],
)
def test_all_but_hidden_layers_stays_in_float32(
    name: str, spec: EnvSpec, network: NetworkOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = filled(spec, 30, linked=network.gru > 0)
    exact, lowered = (made(name, network.model_copy(update={"precision": each}), spec) for each in ("float32", "bfloat16"))
    learn(exact, replay, network)
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)
    learn(lowered, replay, network)

    arrays, _ = lowered.state()
    assert {array.dtype.kind + str(array.itemsize) for array in arrays.values()} <= {"f4", "f8", "i8", "u1"}
    there, here = lowered.stats(), exact.stats()
    assert there != here, "hidden layers are rounded"
    for metric in ("loss_critic", "q", "q_target", "entropy"):
        assert there[metric] == pytest.approx(here[metric], rel=0.1, abs=0.1), metric


def drawn(replay: Replay, network: NetworkOptions, size: int, rng: np.random.Generator) -> Batch:
    """A batch as networks of this shape take it."""
    return replay.sample_windows(size, rng, 4, 2) if network.gru else replay.sample(size, rng)


def learn(algorithm: SAC, replay: Replay, network: NetworkOptions) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        algorithm.update(drawn(replay, network, 32, rng))


# On the way to a device


@pytest.mark.parametrize(
    ("spec", "network"),
    [(lidar_spec(), SMALL), (picture_spec((36, 36), history=2), NATURE), (lidar_spec(), NetworkOptions(hidden=(16,), gru=8))],
)
def test_batches_that_come_by_two_buffers_in_turn_are_the_same(
    spec: EnvSpec, network: NetworkOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = filled(spec, 30, linked=network.gru > 0)
    plain = made("sac", network, spec)
    monkeypatch.setattr(sac, "make_carrier", devices.StreamCarrier)
    by_buffers = made("sac", network, spec)

    def batches() -> Iterator[Batch]:
        rng = np.random.default_rng(0)
        for size in (8, 8, 8, 12):
            yield drawn(replay, network, size, rng)

    for batch in batches():
        plain.update(batch)
    ahead: list[Any] = []
    for batch in batches():
        ahead.append(by_buffers.bring(batch))
        if len(ahead) == 2:  # one is learned from while the next is on its way
            by_buffers.update(ahead.pop(0))
    by_buffers.update(ahead.pop())
    assert_same_state(plain, by_buffers)


def test_a_buffer_is_not_written_again_before_it_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Event:
        """Tells when it is recorded, and when somebody waits for it."""

        def __init__(self) -> None:
            self.number = sum(each.startswith("sent") for each in told)

        def record(self, stream: object) -> None:
            told.append(f"sent {self.number}")

        def synchronize(self) -> None:
            told.append(f"waits for {self.number}")

    monkeypatch.setattr(torch.cpu, "Event", Event)
    carrier, replay = devices.StreamCarrier(torch.device("cpu")), filled(lidar_spec())
    for _ in range(4):
        carrier.bring(replay.sample(4, np.random.default_rng(0)))

    assert told == ["sent 0", "sent 1", "waits for 0", "sent 2", "waits for 1", "sent 3"]


def test_only_a_card_has_a_stream_to_itself() -> None:
    algorithm, batch = made("sac"), filled(lidar_spec()).sample(4, np.random.default_rng(0))
    assert algorithm.bring(batch) is batch
    assert type(devices.make_carrier(torch.device("mps"))) is devices.Carrier


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


# Images in a device's own memory


@pytest.mark.parametrize("history", [0, 2])
@pytest.mark.parametrize("n_step", [1, 3])
def test_images_on_a_device_are_those_that_numpy_keeps(history: int, n_step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 2**30)
    spec = picture_spec((6, 5), history)
    memories = Replay(spec, 50, linked=True), Replay(spec, 50, linked=True, make_images=devices.ImagePlaces("cpu"))
    for chunk in cut_all(make_episode(spec, 120, np.random.default_rng(0)), [7, 12]):
        for memory in memories:
            memory.append(chunk)

    def draw(memory: Replay, windows: bool) -> Batch:
        random = np.random.default_rng(1)
        return memory.sample_windows(9, random, 4, 2, n_step, 0.9) if windows else memory.sample(40, random, n_step, 0.9)

    for windows in (False, True):
        ours, theirs = (draw(memory, windows) for memory in memories)
        for kind in ("observation", "next_observation"):
            images = getattr(theirs, kind)["images"]
            assert isinstance(images, Tensor)
            np.testing.assert_array_equal(images.numpy(), getattr(ours, kind)["images"])
            np.testing.assert_array_equal(getattr(theirs, kind)["vector"], getattr(ours, kind)["vector"])


def test_an_update_is_the_same_wherever_its_images_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 2**30)
    spec = picture_spec((36, 36), 2)
    chunks = cut_all(make_episode(spec, 40, np.random.default_rng(0)), [9])
    learners = []
    for places in (np.empty, devices.ImagePlaces("cpu")):
        memory, learner = Replay(spec, 60, make_images=places), made("sac", NATURE, spec)
        for chunk in chunks:
            memory.append(chunk)
        train(learner, memory, 3, np.random.default_rng(2))
        learners.append(learner)
    assert_same_state(*learners)


def test_images_that_do_not_fit_on_a_card_lie_elsewhere_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 1000)
    assert isinstance(devices.ImagePlaces("cuda:1")((20, 6, 6), "uint8"), np.ndarray)
    assert "do not fit on cuda:1" in caplog.text
    assert "replay.capacity" in caplog.text


def test_a_processor_has_no_memory_besides_its_own() -> None:
    assert isinstance(devices.ImagePlaces("cpu")((20, 6, 6), "uint8"), np.ndarray)
