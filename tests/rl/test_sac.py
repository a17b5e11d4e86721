"""Soft Actor-Critic: its formulas, its resumes, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.rl.experience import lidar_spec, picture_spec, point_spec
from tests.rl.learning import SMALL, assert_same_state, bandit, filled, train
from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec
from tmrld.rl.images import readable
from tmrld.rl.networks import move_towards
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.rl.sac import SAC, actor_loss, average_horizon, critic_loss, soft_target


def test_the_target_is_reward_plus_what_follows() -> None:
    target = soft_target(
        reward=torch.tensor([1.0, 1.0]),
        discount=torch.tensor([0.9, 0.9]),
        terminated=torch.tensor([0.0, 1.0]),
        next_value=torch.tensor([10.0, 10.0]),
        next_log_prob=torch.tensor([2.0, 2.0]),
        alpha=torch.tensor(0.5),
    )

    assert target.tolist() == pytest.approx([1.0 + 0.9 * (10.0 - 0.5 * 2.0), 1.0])


def test_the_losses_are_the_means_of_the_paper() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 2.0]])

    assert critic_loss(values, torch.tensor([1.0, 0.0]))[0].item() == pytest.approx((0 + 4 + 4 + 4) / 4)
    loss = actor_loss(torch.tensor(0.1), torch.tensor([1.0, 3.0]), torch.tensor([5.0, 7.0]))
    assert loss.item() == pytest.approx(0.1 * 2.0 - 6.0)


def test_targets_move_a_share_of_the_way() -> None:
    targets = [torch.tensor([1.0, 2.0]), torch.tensor([[0.0]])]

    move_towards(targets, [torch.tensor([2.0, 4.0]), torch.tensor([[10.0]])], 0.1)

    assert targets[0].tolist() == pytest.approx([1.1, 2.2])
    assert targets[1].item() == pytest.approx(1.0)


def test_targets_remember_nothing_of_how_they_moved() -> None:
    sac = SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=0)

    train(sac, filled(lidar_spec()), 3, np.random.default_rng(0))

    for network in (sac.target_critics, sac.averaged_policy):
        for name, parameter in network.named_parameters():
            assert parameter.grad_fn is None, f"{name} holds on to all updates so far"
            assert not parameter.requires_grad


@pytest.mark.parametrize("learn_alpha", [True, False])
def test_a_restored_algorithm_goes_on_bit_for_bit(learn_alpha: bool) -> None:
    options = AlgorithmOptions(learn_alpha=learn_alpha, policy_interval=2)
    replay = filled(lidar_spec())
    first = SAC(options, SMALL, lidar_spec(), seed=1)
    train(first, replay, 7, np.random.default_rng(1))
    arrays, values = first.state()
    train(first, replay, 8, np.random.default_rng(2))

    second = SAC(options, SMALL, lidar_spec(), seed=99)
    train(second, replay, 3, np.random.default_rng(3))
    second.restore(arrays, values)
    train(second, replay, 8, np.random.default_rng(2))

    assert second.updates == first.updates == 15
    assert_same_state(first, second)
    assert first.stats() == second.stats()


def test_a_restored_algorithm_goes_on_bit_for_bit_with_images() -> None:
    spec, network = picture_spec((36, 36, 3), history=2), NetworkOptions(hidden=(16,), cnn="nature")
    replay = filled(spec, 30)
    first = SAC(AlgorithmOptions(), network, spec, seed=1)
    train(first, replay, 2, np.random.default_rng(1))
    arrays, values = first.state()
    train(first, replay, 3, np.random.default_rng(2))

    second = SAC(AlgorithmOptions(), network, spec, seed=99)
    second.restore(arrays, values)
    train(second, replay, 3, np.random.default_rng(2))

    assert_same_state(first, second)


def test_a_state_from_before_the_first_update_is_restored_too() -> None:
    replay = filled(lidar_spec())
    first, second = (SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=seed) for seed in (1, 2))
    train(second, replay, 3, np.random.default_rng(3))
    second.restore(*first.state())

    train(first, replay, 3, np.random.default_rng(2))
    train(second, replay, 3, np.random.default_rng(2))

    assert_same_state(first, second)


def test_the_same_seed_gives_the_same_networks_and_another_seed_others() -> None:
    one, same, other = (SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=seed).policy_tensors() for seed in (5, 5, 6))

    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["head.weight"], other["head.weight"])


def test_making_networks_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()

    SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=5)

    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_made_with_other_networks_is_refused_by_name() -> None:
    small = SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=0)
    large = SAC(AlgorithmOptions(), NetworkOptions(hidden=(32, 32)), lidar_spec(), seed=0)

    with pytest.raises(BadInput, match=r"'policy.trunk.layers.0.weight' of the checkpoint is torch.float32 \(16, 83\)"):
        large.restore(*small.state())
    arrays, values = small.state()
    del arrays["critics.value.bias"]
    with pytest.raises(BadInput, match=r"lacks 'critics\.value\.bias'"):
        small.restore(arrays, values)
    with pytest.raises(BadInput, match="of the algorithm 'redq'"):
        small.restore(arrays, {"algorithm": "redq"})


def test_options_change_while_the_optimizers_remember() -> None:
    replay = filled(lidar_spec())
    sac = SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=0)
    train(sac, replay, 3, np.random.default_rng(0))
    before, _ = sac.state()

    sac.set_options(AlgorithmOptions(learning_rate_critic=1e-30, learning_rate_actor=1e-30, learning_rate_temperature=1e-30))
    train(sac, replay, 1, np.random.default_rng(1))

    after, _ = sac.state()
    np.testing.assert_array_equal(before["policy.head.weight"], after["policy.head.weight"])
    np.testing.assert_array_equal(before["critics.value.weight"], after["critics.value.weight"])
    assert before["log_alpha"] == after["log_alpha"]
    assert after["critic_optimizer.0.step"] == 4


def test_alpha_can_be_taken_out_of_learning_and_put_back() -> None:
    sac = SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=0)

    sac.set_options(AlgorithmOptions(learn_alpha=False, alpha=0.01))
    train(sac, filled(lidar_spec()), 2, np.random.default_rng(0))
    assert sac.stats()["alpha"] == pytest.approx(0.01)
    sac.set_options(AlgorithmOptions(learn_alpha=True, alpha=0.01))
    train(sac, filled(lidar_spec()), 2, np.random.default_rng(0))
    assert sac.stats()["alpha"] != pytest.approx(0.01, rel=1e-6)


def test_a_run_does_not_change_its_algorithm() -> None:
    with pytest.raises(BadInput, match="start a new run"):
        SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=0).set_options(AlgorithmOptions(name="other:Thing"))


def test_statistics_are_means_since_they_were_last_asked_for() -> None:
    sac = SAC(AlgorithmOptions(alpha=0.2), SMALL, lidar_spec(), seed=0)
    assert sac.stats() == {}

    train(sac, filled(lidar_spec()), 2, np.random.default_rng(0))

    stats = sac.stats()
    assert set(stats) == {"loss_critic", "q", "q_target", "loss_actor", "entropy", "loss_temperature", "alpha"}
    assert all(np.isfinite(value) for value in stats.values())
    assert stats["alpha"] == pytest.approx(0.2, rel=0.01)
    assert sac.stats() == {}


def test_it_learns_what_to_do_where() -> None:
    options = AlgorithmOptions(learning_rate_actor=3e-3, learning_rate_critic=3e-3, learn_alpha=False, alpha=0.01)
    sac = SAC(options, NetworkOptions(hidden=(32, 32)), point_spec(), seed=0)
    rng = np.random.default_rng(0)

    for _ in range(600):
        sac.update(bandit(64, rng))

    positions = torch.linspace(-0.9, 0.9, 7)[:, None]
    actions = sac.policy({"vector": sac.normaliser(positions)}).mode()
    torch.testing.assert_close(actions, 0.5 * positions, atol=0.15, rtol=0.0)


@pytest.mark.parametrize("interval", [1, 20])
def test_the_policy_that_drives_forgets_its_beginning_however_seldom_it_is_updated(interval: int) -> None:
    left = 1.0
    for update in range(interval, 4001, interval):
        horizon = average_horizon(1000, update, interval)
        assert horizon * interval <= max(interval, update / 10)
        left *= 1.0 - 1.0 / horizon

    assert left < 1e-3


@pytest.mark.parametrize("average", [1, 3, 100])
def test_the_policy_that_drives_is_an_average_of_those_that_were(average: int) -> None:
    replay, rng = filled(point_spec()), np.random.default_rng(0)
    algorithm = SAC(AlgorithmOptions(policy_average=average), SMALL, point_spec(), seed=0)
    expected = np.zeros_like(algorithm.policy.head.weight.detach().numpy())

    for update in range(1, 61):
        train(algorithm, replay, 1, rng)
        newest = algorithm.policy.head.weight.detach().numpy()
        expected += (newest - expected) / max(1, min(average, update // 10))

    np.testing.assert_allclose(algorithm.policy_tensors()["head.weight"], expected, rtol=1e-5, atol=1e-7)
    assert (average == 1) == np.array_equal(algorithm.policy_tensors()["head.weight"], newest)


def shown(number: int, rng: np.random.Generator) -> Chunk:
    """An episode of one step: a bright bar stands left, right or in the middle, and the reward is best for steering towards it."""
    place = int(rng.integers(0, 3))
    images = rng.integers(0, 60, (2, 36, 36)).astype(np.uint8)
    images[:, :, 12 * place : 12 * place + 12] += 150
    action = rng.uniform(-1.0, 1.0, (2, 1)).astype(np.float32)
    columns: dict[str, Array] = {
        "view": images,
        "action": action,
        "reward": 1.0 - 4.0 * np.square(action[:, 0] - 0.5 * (place - 1)),
        "terminated": np.asarray([0, 1], np.uint8),
        "truncated": np.zeros(2, np.uint8),
    }
    return Chunk("r", "w", "i", number, f"e{number}", 0, 1, 1, "t", "train", "terminated", columns)


def test_it_learns_to_steer_towards_what_it_sees() -> None:
    part = PartSpec("view", (36, 36), "uint8", 0.0, 255.0, history=1, scale=255.0)
    spec = EnvSpec("test/View-v0", (part,), 1, default_action=(0.0,))
    replay, rng = Replay(spec, 400), np.random.default_rng(0)
    for number in range(400):
        replay.append(shown(number, rng))
    options = AlgorithmOptions(learning_rate_actor=3e-3, learning_rate_critic=3e-3, learn_alpha=False, alpha=0.01)
    sac = SAC(options, NetworkOptions(hidden=(32,), cnn="nature"), spec, seed=0)
    train(sac, replay, 10, rng)
    early = sac.stats()["loss_critic"]

    train(sac, replay, 240, rng)
    sac.stats()
    train(sac, replay, 10, rng)

    assert sac.stats()["loss_critic"] < 0.3 * early
    views = np.full((3, 1, 36, 36), 30, np.uint8)
    for place in range(3):
        views[place, :, :, 12 * place : 12 * place + 12] += 150
    with torch.no_grad():
        action = sac.policy(readable(spec, {"vector": torch.zeros(3, 0), "view": torch.from_numpy(views)})).mode()[:, 0]
    torch.testing.assert_close(action, torch.tensor([-0.5, 0.0, 0.5]), atol=0.3, rtol=0.0)


# Starting from weights


def learned(spec: EnvSpec, network: NetworkOptions) -> dict[str, Array]:
    """The policy of another run, which has learned a little."""
    other = SAC(AlgorithmOptions(learning_rate_actor=1e-2), network, spec, seed=7)
    train(other, filled(spec, 40), 20, np.random.default_rng(5))
    return other.policy_tensors()


def driven(sac: SAC, replay: Replay) -> torch.Tensor:
    """What the policy does with what is in the memory."""
    raw = replay.gather(np.arange(len(replay))).observation
    observation = readable(replay.spec, {name: torch.from_numpy(array) for name, array in raw.items()})
    observation["vector"] = sac.normaliser(observation["vector"])
    with torch.no_grad():
        mode: torch.Tensor = sac.policy(observation).mode()
    return mode


@pytest.mark.parametrize("spec", [lidar_spec(), picture_spec((36, 36), history=2)])
def test_a_policy_that_starts_from_weights_stays_as_it_is_while_the_critics_learn(spec: EnvSpec) -> None:
    network, replay = NetworkOptions(hidden=(16, 16), cnn="nature"), filled(spec, 40)
    tensors, rng = learned(spec, network), np.random.default_rng(3)
    sac = SAC(AlgorithmOptions(policy_hold=5), network, spec, seed=0)
    critics = sac.state()[0]["critics.value.weight"]
    sac.start_from(tensors)
    before = driven(sac, replay)

    for _ in range(5):
        train(sac, replay, 1, rng)
        torch.testing.assert_close(driven(sac, replay), before, atol=1e-5, rtol=0.0)
        for name, tensor in sac.policy_tensors().items():
            np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)
    assert not np.array_equal(sac.state()[0]["critics.value.weight"], critics)
    assert "loss_actor" not in sac.stats()
    assert sac.temperature.alpha == AlgorithmOptions().alpha

    train(sac, replay, 1, rng)
    after = driven(sac, replay)
    assert not torch.allclose(after, before, atol=1e-5)
    torch.testing.assert_close(after, before, atol=0.2, rtol=0.0)  # one step from where it was, not from anywhere
    assert "loss_actor" in sac.stats()


def test_a_policy_that_is_not_held_starts_from_the_weights_all_the_same() -> None:
    replay = filled(lidar_spec())
    tensors = learned(lidar_spec(), SMALL)
    sac = SAC(AlgorithmOptions(policy_hold=0, learning_rate_actor=1e-9), SMALL, lidar_spec(), seed=0)
    sac.start_from(tensors)
    before = driven(sac, replay)

    train(sac, replay, 1, np.random.default_rng(3))

    assert "loss_actor" in sac.stats()
    torch.testing.assert_close(driven(sac, replay), before, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("hold", [3, 6])
def test_a_held_policy_goes_on_bit_for_bit_and_is_let_go_when_it_would_have_been(hold: int) -> None:
    options, replay = AlgorithmOptions(policy_hold=hold), filled(lidar_spec())
    first = SAC(options, SMALL, lidar_spec(), seed=1)
    first.start_from(learned(lidar_spec(), SMALL))
    train(first, replay, 4, np.random.default_rng(1))
    arrays, values = first.state()
    train(first, replay, 5, np.random.default_rng(2))

    second = SAC(options, SMALL, lidar_spec(), seed=99)
    second.restore(arrays, values)
    train(second, replay, 5, np.random.default_rng(2))

    assert_same_state(first, second)
    assert any(name.startswith("held.") for name in arrays) == (hold == 6)


def test_an_anchored_policy_strays_less_from_what_was_driven() -> None:
    replay, tensors = filled(lidar_spec()), learned(lidar_spec(), SMALL)

    def strayed(anchor: float) -> float:
        options = AlgorithmOptions(policy_hold=20, policy_anchor=anchor, learning_rate_actor=1e-2)
        sac = SAC(options, SMALL, lidar_spec(), seed=0)
        sac.start_from(tensors)
        before = driven(sac, replay)
        train(sac, replay, 60, np.random.default_rng(3))
        return float((driven(sac, replay) - before).abs().mean())

    assert strayed(10.0) < 0.5 * strayed(0.0)


def test_a_policy_that_starts_at_random_has_no_anchor() -> None:
    replay = filled(lidar_spec())
    loose, anchored = (SAC(AlgorithmOptions(policy_anchor=anchor), SMALL, lidar_spec(), seed=0) for anchor in (0.0, 10.0))
    for sac in (loose, anchored):
        train(sac, replay, 20, np.random.default_rng(3))

    assert_same_state(loose, anchored)


def test_a_hold_ends_early_when_the_option_says_so_and_does_not_come_back() -> None:
    sac, replay, rng = SAC(AlgorithmOptions(), SMALL, lidar_spec(), seed=0), filled(lidar_spec()), np.random.default_rng(0)
    sac.start_from(learned(lidar_spec(), SMALL))
    train(sac, replay, 2, rng)
    assert "loss_actor" not in sac.stats()

    for hold in (0, 1000):
        sac.set_options(AlgorithmOptions(policy_hold=hold))
        train(sac, replay, 1, rng)
        assert "loss_actor" in sac.stats()
