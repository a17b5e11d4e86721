"""What the networks see, and what leaves with the weights."""

from __future__ import annotations

import torch

from tmrld.rl.normaliser import LEAST_DEVIATION, Normaliser


def test_batches_seen_one_by_one_count_like_one_large_batch() -> None:
    generator = torch.Generator().manual_seed(3)
    values = 5.0 + 2.0 * torch.randn(900, 4, generator=generator)
    normaliser = Normaliser(4)

    for part in (values[:100], values[100:400], values[400:]):
        normaliser.see(part)

    torch.testing.assert_close(normaliser.mean, values.double().mean(0), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(normaliser.variance, values.double().var(0, correction=0), atol=1e-4, rtol=0.0)
    seen = normaliser(values)
    torch.testing.assert_close(seen.mean(0), torch.zeros(4), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(seen.std(0), torch.ones(4), atol=1e-2, rtol=0.0)


def test_on_any_device_it_learns_what_it_learns_on_a_processor() -> None:
    generator = torch.Generator().manual_seed(3)
    ours, theirs = Normaliser(4), Normaliser(4)

    for rows in (100, 30):
        values = 5.0 + 0.05 * torch.arange(4) * torch.randn(rows, 4, generator=generator)
        theirs.follow(values, float(ours.count))
        ours.see(values)

    for name in ("mean", "variance", "shift", "factor"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))


def test_an_input_that_never_moved_is_not_blown_up() -> None:
    normaliser = Normaliser(1)

    normaliser.see(torch.full((50, 1), 7.0))

    torch.testing.assert_close(normaliser(torch.tensor([[7.5]])), torch.tensor([[0.5 / LEAST_DEVIATION]]))


def test_nothing_changes_before_the_first_batch() -> None:
    values = torch.tensor([[1.0, -2.0]])

    torch.testing.assert_close(Normaliser(2)(values), values)


def test_folded_into_a_layer_it_gives_the_same_outputs_for_raw_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    values = 3.0 + torch.randn(64, 5, generator=generator)
    weight, bias = torch.randn(7, 5, generator=generator), torch.randn(7, generator=generator)
    normaliser = Normaliser(5)
    normaliser.see(values)

    folded_weight, folded_bias = normaliser.folded(weight, bias)

    expected = torch.nn.functional.linear(normaliser(values), weight, bias)
    torch.testing.assert_close(torch.nn.functional.linear(values, folded_weight, folded_bias), expected, atol=1e-4, rtol=1e-4)


def test_unfolded_again_a_layer_is_what_it_was_and_inputs_that_follow_are_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(7, 8, generator=generator), torch.randn(7, generator=generator)
    normaliser = Normaliser(5)
    normaliser.see(3.0 + 40.0 * torch.randn(64, 5, generator=generator))

    raw, raw_bias = normaliser.folded(weight, bias)
    again, again_bias = normaliser.unfolded(raw, raw_bias)

    assert torch.equal(raw[:, 5:], weight[:, 5:])
    torch.testing.assert_close(again, weight, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(again_bias, bias, atol=1e-5, rtol=1e-5)
