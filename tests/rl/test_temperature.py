"""The entropy coefficient, against numbers worked out by hand."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from tmrld.rl.temperature import FixedTemperature, LearnedTemperature

CPU = torch.device("cpu")


def test_the_loss_is_that_of_the_paper() -> None:
    temperature = LearnedTemperature(0.2, target_entropy=-3.0, learning_rate=0.01, device=CPU)

    loss = temperature.update(torch.tensor(3.0))

    assert loss.item() == pytest.approx(-log(0.2) * (3.0 - 3.0), abs=1e-6)
    loss = temperature.update(torch.tensor(5.0))
    assert loss.item() == pytest.approx(-log(0.2) * (5.0 - 3.0), rel=1e-3)


def test_the_first_step_of_adam_moves_log_alpha_by_the_learning_rate() -> None:
    temperature = LearnedTemperature(0.2, target_entropy=-3.0, learning_rate=0.01, device=CPU)

    temperature.update(torch.tensor(5.0))  # entropy -5 is below the target -3: alpha must rise

    assert temperature.alpha.item() == pytest.approx(0.2 * exp(0.01), rel=1e-5)


def test_alpha_falls_while_there_is_more_entropy_than_wanted() -> None:
    temperature = LearnedTemperature(0.2, target_entropy=-3.0, learning_rate=0.01, device=CPU)

    temperature.update(torch.tensor(1.0))

    assert temperature.alpha.item() == pytest.approx(0.2 * exp(-0.01), rel=1e-5)


def test_a_fixed_alpha_stays() -> None:
    temperature = FixedTemperature(0.01, CPU)

    assert temperature.update(torch.tensor(100.0)).item() == 0.0
    assert temperature.alpha.item() == pytest.approx(0.01)
