"""Soft Actor-Critic, arXiv 1812.05905: two critics, a stochastic policy, a temperature that is fixed or learned.

Two things are not in the paper: inputs are normalised (tmrld.rl.normaliser), and the critics' hidden layers are too
(`NetworkOptions.critic_layer_norm`), which keeps their values from running away between the states that the memory knows.

An update goes through the paper's algorithm 1 from top to bottom: critics, policy, temperature, target critics.  Its kin (redq, droq,
tqc, crossq) go the same way and replace some of the parts of `SAC` below "What the others replace".

A policy that starts from weights can drive, and has to stay so while the critics, which start from nothing, see no more than what
it does.  For the first `AlgorithmOptions.policy_hold` updates it does not change, nor does the temperature.  After that it loses by
straying from its own average, the policy that drives (`AlgorithmOptions.policy_anchor`).

What `SAC.stats` reports (means over the updates since the last call):

====================  ==================================================================================================
``loss_critic``       mean squared soft Bellman residual, over both critics
``q``                 mean action value of the batch, over both critics, in units of scaled reward
``q_target``          mean of what the critics are drawn to
``loss_actor``        alpha · log-density - smaller action value, of the policy's own actions (and what the anchor adds)
``entropy``           minus the mean log-density of the policy's actions, in nats
``loss_temperature``  what a learned alpha descends on; 0 when it is fixed
``alpha``             the entropy coefficient
====================  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from tmrld.applies import KEY, new_run
from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec
from tmrld.rl import snapshots
from tmrld.rl.averages import Averages
from tmrld.rl.devices import BatchOnDevice, make_carrier
from tmrld.rl.held import Hold
from tmrld.rl.images import readable
from tmrld.rl.networks import Critics, Observation, descend, move_towards
from tmrld.rl.normaliser import Normaliser
from tmrld.rl.observations import VECTOR, vector_size
from tmrld.rl.optimizers import Descent, make_optimizer, on_the_way
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.phases import phase
from tmrld.rl.policy import Policy, first_layer
from tmrld.rl.recurrence import PLACES, STATE
from tmrld.rl.replay import Batch
from tmrld.rl.sphere import project, settle
from tmrld.rl.temperature import FixedTemperature, LearnedTemperature

OF_A_NEW_RUN = tuple(
    name
    for name, field in AlgorithmOptions.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra[KEY] == new_run()[KEY]
)
"""The options that a run keeps to its end."""


def soft_target(
    reward: Tensor, discount: Tensor, terminated: Tensor, next_value: Tensor, next_log_prob: Tensor, alpha: Tensor
) -> Tensor:
    """r + discount · (1 - terminated) · (Q(o', a') - alpha · log π(a'|o')): all (batch,).  Equations 3 and 5.

    The discount is gamma to the power of the steps between o and o'.  A truncated episode is bootstrapped like any other step: it
    would have gone on.
    """
    soft_value = torch.addcmul(next_value, alpha, next_log_prob, value=-1.0)
    return torch.addcmul(reward, discount * (1.0 - terminated), soft_value)


def weighted(losses: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of losses (…, batch), each times the weight (batch,) of its transition, if they are weighted: ()."""
    return losses.mean() if weights is None else (losses * weights).mean()


def critic_loss(values: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean squared residual and its gradient: (members, batch), (batch,) → (), (members, batch).

    Equation 5, averaged over the critics (as in TMRL), and 6.
    """
    residual = values - target
    pull = residual if weights is None else residual * weights
    return (pull * residual).mean(), pull * (2.0 / residual.numel())


def actor_loss(alpha: Tensor, log_prob: Tensor, value: Tensor) -> Tensor:
    """mean(alpha · log π(a|o) - Q(o, a)): (batch,), (batch,) → ().  Equations 7 and 9."""
    return (alpha * log_prob - value).mean()


def average_horizon(longest: int, updates: int, interval: int = 1) -> int:
    """Over how many of its own updates, one in ``interval``, the policy is averaged after so many updates.

    It is the last tenth of them all, so that a young policy is not held back, and ``longest`` at most.
    """
    return max(1, min(longest, updates // 10) // interval)


class SAC:
    """Learns a `Policy` from batches; an Algorithm (tmrld.rl.algorithm)."""

    NAME: ClassVar[str] = "sac"
    CRITICS: ClassVar[int] = 2
    """How many there are, by the paper."""
    CRITIC_METRICS: ClassVar[tuple[str, ...]] = ("loss_critic", "q", "q_target")

    def __init__(
        self, options: AlgorithmOptions, network: NetworkOptions, spec: EnvSpec, seed: int, device: str = "cpu"
    ) -> None:
        self.options = options
        self.updates = 0
        self._device = torch.device(device)
        self._carrier = make_carrier(self._device)
        self._spec = spec
        self._network = network
        initial = Generator().manual_seed(seed)
        self._noise = Generator(self._device).manual_seed(seed)
        self.normaliser = Normaliser(vector_size(spec), self._device)
        self.policy = Policy(spec, network, initial).to(self._device)
        self.averaged_policy = deepcopy(self.policy).requires_grad_(False)
        self.critics = self._make_critics(self.CRITICS if options.critics == "auto" else options.critics, initial)
        self.target_critics = self._make_targets()
        self._policy_parameters = list(self.policy.parameters())
        self._averaged_parameters = list(self.averaged_policy.parameters())
        self._critic_parameters = list(self.critics.parameters())
        self._target_parameters = list(self.target_critics.parameters())
        self._policy_optimizer = make_optimizer(options.optimizer_actor, self._policy_parameters, self._policy_descent())
        self._critic_optimizer = make_optimizer(options.optimizer_critic, self._critic_parameters, self._critic_descent())
        self.temperature = self._make_temperature(options)
        self._started_from_weights = False
        self._hold: Hold | None = None
        """On a policy that is not to be changed yet."""
        self._errors = torch.zeros(0)
        self._critic_averages = Averages(self.CRITIC_METRICS, self._device)
        self._policy_averages = Averages(("loss_actor", "entropy", "loss_temperature", "alpha"), self._device)

    def bring(self, batch: Batch) -> Batch | BatchOnDevice:
        """What `update` takes instead; the batch comes to the device meanwhile where that is of use."""
        return self._carrier.bring(batch) if self._carrier.beside else batch

    def update(self, batch: Batch | BatchOnDevice) -> None:
        """One gradient step on the critics, one on policy and temperature when it is their turn, one move of the targets."""
        if self.options.schedule_updates:
            self._retune()
        here = self._carrier.received(batch if isinstance(batch, BatchOnDevice) else self._carrier.bring(batch))
        observation, next_observation = self._observations(here)
        reward, terminated, steps, weights = here.reward, here.terminated, here.steps, here.weights
        self._update_critics(observation, here.action, reward, next_observation, terminated, steps, weights)
        self.updates += 1
        if self._hold is None and self.updates % self.options.policy_interval == 0:
            self._update_policy(observation)
        self._move_targets()

    @phase("critics")
    def _update_critics(
        self,
        observation: Observation,
        action: Tensor,
        reward: Tensor,
        next_observation: Observation,
        terminated: Tensor,
        steps: Tensor,
        weights: Tensor | None,
    ) -> None:
        """Draw the critics towards the soft Bellman target."""
        with torch.no_grad():
            next_action, next_log_prob = self.policy(next_observation).sample(self._noise)
        values, next_value = self._now_and_next(observation, action, next_observation, next_action)
        discount = self.options.gamma**steps
        scaled_reward = reward * self.options.reward_scale
        target = soft_target(scaled_reward, discount, terminated, next_value, next_log_prob, self.temperature.alpha)
        seen = values.detach()
        loss, of_values = self._critic_loss(seen, target, weights)
        if weights is not None:
            self._errors = self._error(seen, target)
        self._critic_optimizer.step(self.critics.gradients(values, of_values))
        project(self.critics.layers)
        self._critic_averages.add(*self._measured(loss, seen, target))

    @phase("policy")
    def _update_policy(self, observation: Observation) -> None:
        """Move the policy towards higher value plus entropy, then the temperature."""
        choice = self.policy(observation)
        action, log_prob = choice.sample(self._noise)
        loss = actor_loss(self.temperature.alpha, log_prob, self._policy_value(observation, action))
        horizon = average_horizon(self.options.policy_average, self.updates, self.options.policy_interval)
        if self._started_from_weights:
            horizon = max(1, self.options.policy_average // self.options.policy_interval)
            loss = loss + self.options.policy_anchor * choice.divergence(self.averaged_policy(observation)).mean()
        descend(self._policy_optimizer, self._policy_parameters, loss)
        project(self.policy.trunk.layers)
        move_towards(self._averaged_parameters, self._policy_parameters, 1.0 / horizon)
        project(self.averaged_policy.trunk.layers)
        alpha = self.temperature.alpha.clone()
        mean_log_prob = log_prob.detach().mean()
        temperature_loss = self.temperature.update(mean_log_prob)
        self._policy_averages.add(loss.detach(), -mean_log_prob, temperature_loss, alpha)

    # What the others replace

    def _make_critics(self, members: int, generator: Generator) -> Critics:
        """Critics with fresh parameters from this generator."""
        return Critics(self._spec, self._network, members, generator).to(self._device)

    def _make_targets(self) -> Critics:
        """Target critics, which begin as the critics are."""
        targets = self._make_critics(self.critics.members, Generator())
        targets.load_state_dict(self.critics.state_dict())
        return targets.requires_grad_(False)

    def _now_and_next(
        self, observation: Observation, action: Tensor, next_observation: Observation, next_action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each critic says of the batch, (members, batch), and what they are to believe of what comes after, (batch,)."""
        with torch.no_grad():
            next_value = self._next_value(next_observation, next_action)
        return self.critics(observation, action), next_value

    def _next_value(self, observation: Observation, action: Tensor) -> Tensor:
        """What the target critics say: the smallest value of all, (batch,)."""
        value: Tensor = self.target_critics(observation, action).amin(dim=0)
        return value

    def _critic_loss(self, values: Tensor, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """From what `_now_and_next` and `soft_target` give, and the weights of the transitions (batch,), to a loss, (), and its
        gradient, of the shape of the values.
        """
        return critic_loss(values, target, weights)

    def _error(self, values: Tensor, target: Tensor) -> Tensor:
        """How far the critics are off, in the mean over them: (batch,)."""
        return (values - target).abs().mean(dim=0)

    def _measured(self, loss: Tensor, values: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        """A value () for each of `CRITIC_METRICS`."""
        return loss, values.mean(), target.mean()

    def _policy_value(self, observation: Observation, action: Tensor) -> Tensor:
        """What the policy climbs: the smallest value of all, (batch,), differentiable in the action."""
        value: Tensor = self.critics(observation, action, for_policy=True).min(dim=0).values
        return value

    @phase("targets")
    def _move_targets(self) -> None:
        """The target critics follow the critics."""
        move_towards(self._target_parameters, self._critic_parameters, self.options.tau)

    def _networks(self) -> dict[str, nn.Module]:
        """All that a checkpoint keeps, by the prefix of its tensors there."""
        return {
            "normaliser": self.normaliser,
            "policy": self.policy,
            "averaged_policy": self.averaged_policy,
            "critics": self.critics,
            "target_critics": self.target_critics,
        }

    # The same for all

    def start_from(self, tensors: Mapping[str, Array]) -> None:
        """Begin as the policy with these tensors, which are for inputs that are not normalised, as `policy_tensors` gives them.

        Called before the first update.  Raises BadInput when they are of another network.
        """
        for policy in (self.policy, self.averaged_policy):
            for name, tensor in policy.state_dict().items():
                snapshots.fill(tensor, tensors, name)
        self._started_from_weights = True
        self._hold = Hold(self.policy, self._network)

    def errors(self) -> Array:
        """See `tmrld.rl.algorithm.TellsErrors`."""
        return snapshots.to_array(self._errors)

    def stats(self) -> dict[str, float]:
        """The table at the top of this file."""
        return self._critic_averages.take() | self._policy_averages.take()

    def policy_tensors(self) -> dict[str, Array]:
        """The parameters of the averaged policy, by their names in `Policy`, for inputs that are not normalised."""
        tensors = dict(self.averaged_policy.state_dict())
        first = first_layer(self._network)
        weight, bias = f"{first}.weight", f"{first}.bias"
        if self._hold is not None:
            tensors[weight], tensors[bias] = self._hold.weight, self._hold.bias
        else:
            tensors[weight], tensors[bias] = self.normaliser.folded(tensors[weight], tensors[bias])
        return {name: snapshots.to_array(tensor) for name, tensor in tensors.items()}

    def set_options(self, options: AlgorithmOptions) -> None:
        """Changing ``alpha`` or ``learn_alpha`` starts the temperature anew from ``alpha``."""
        for name in OF_A_NEW_RUN:
            before, after = getattr(self.options, name), getattr(options, name)
            if after != before:
                raise BadInput(f"a run with algorithm.{name} = {before!r} cannot go on with {after!r}: start a new run")
        previous, self.options = self.options, options
        if (options.learn_alpha, options.alpha) != (previous.learn_alpha, previous.alpha):
            self.temperature = self._make_temperature(options)
        self._retune()

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Copies of networks, optimizers, temperature, random state, counters and open means."""
        arrays = {
            **snapshots.optimizer_arrays("policy_optimizer", self._policy_optimizer),
            **snapshots.optimizer_arrays("critic_optimizer", self._critic_optimizer),
            "noise": snapshots.generator_array(self._noise),
            "critic_sums": snapshots.to_array(self._critic_averages.sums),
            "policy_sums": snapshots.to_array(self._policy_averages.sums),
        }
        for prefix, network in self._networks().items():
            arrays |= snapshots.module_arrays(prefix, network)
        if self._hold is not None:
            arrays |= self._hold.arrays()
        if isinstance(self.temperature, LearnedTemperature):
            arrays["log_alpha"] = snapshots.to_array(self.temperature.log_alpha)
            arrays |= snapshots.optimizer_arrays("temperature_optimizer", self.temperature.optimizer)
        values = {
            "algorithm": self.NAME,
            "updates": self.updates,
            "started_from_weights": self._started_from_weights,
            "critic_count": self._critic_averages.count,
            "policy_count": self._policy_averages.count,
        }
        return arrays, values

    def restore(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        """The inverse of `state`.  A state without a learned alpha leaves the temperature as the options say."""
        if values.get("algorithm") != self.NAME:
            raise BadInput(f"the checkpoint is of the algorithm '{values.get('algorithm')}', this run uses {self.NAME}")
        for prefix, network in self._networks().items():
            snapshots.restore_module(prefix, network, arrays)
        snapshots.restore_optimizer("policy_optimizer", self._policy_optimizer, arrays)
        snapshots.restore_optimizer("critic_optimizer", self._critic_optimizer, arrays)
        if isinstance(self.temperature, LearnedTemperature) and "log_alpha" in arrays:
            snapshots.fill(self.temperature.log_alpha, arrays, "log_alpha")
            snapshots.restore_optimizer("temperature_optimizer", self.temperature.optimizer, arrays)
            self.temperature.refresh()
        self._hold = Hold.restored(self.policy, self._network, arrays)
        snapshots.restore_generator(self._noise, arrays["noise"])
        snapshots.fill(self._critic_averages.sums, arrays, "critic_sums")
        snapshots.fill(self._policy_averages.sums, arrays, "policy_sums")
        self.updates = int(values["updates"])
        self._started_from_weights = bool(values.get("started_from_weights", False))
        self._critic_averages.count = int(values["critic_count"])
        self._policy_averages.count = int(values["policy_count"])

    @phase("inputs")
    def _observations(self, batch: BatchOnDevice) -> tuple[Observation, Observation]:
        """Both observations, their vectors normalised, their images readable."""
        observation = readable(self._spec, batch.observation)
        vector = observation[VECTOR]
        self.normaliser.see(vector if batch.places is None else vector.flatten(0, 1).index_select(0, batch.places))
        if self._hold is not None:
            self._follow_normaliser(self._hold)
        observation[VECTOR] = self.normaliser(vector)
        if batch.places is None or batch.next_places is None:
            next_observation = readable(self._spec, batch.next_observation)
            next_observation[VECTOR] = self.normaliser(next_observation[VECTOR])
            return observation, next_observation
        if batch.state is not None:
            observation[STATE] = batch.state
        return observation | {PLACES: batch.places}, observation | {PLACES: batch.next_places}  # windows show both

    def _follow_normaliser(self, hold: Hold) -> None:
        """The policy and its average go on as they are, until the time of the hold is over."""
        hold.follow(self.normaliser)
        if self.updates >= self.options.policy_hold:
            settle(self.policy.trunk.layers)
            self._hold = None
        move_towards(self._averaged_parameters, self._policy_parameters, 1.0)

    def _make_temperature(self, options: AlgorithmOptions) -> FixedTemperature | LearnedTemperature:
        if not options.learn_alpha:
            return FixedTemperature(options.alpha, self._device)
        rate = self._learning_rate(options.learning_rate_temperature)
        return LearnedTemperature(options.alpha, self._target_entropy(), rate, self._device)

    def _retune(self) -> None:
        """Bring optimizers and temperature to where the options, and their schedule, have them by now."""
        self._policy_optimizer.descent = self._policy_descent()
        self._critic_optimizer.descent = self._critic_descent()
        if isinstance(self.temperature, LearnedTemperature):
            self.temperature.retune(self._target_entropy(), self._learning_rate(self.options.learning_rate_temperature))

    def _policy_descent(self) -> Descent:
        options = self.options
        return Descent(self._learning_rate(options.learning_rate_actor), options.betas_actor, options.weight_decay_actor)

    def _critic_descent(self) -> Descent:
        options = self.options
        return Descent(self._learning_rate(options.learning_rate_critic), options.betas_critic, options.weight_decay_critic)

    def _learning_rate(self, rate: float) -> float:
        """What a learning rate is by now."""
        last = rate * self.options.schedule_learning_rates
        return on_the_way(rate, last, self.updates, self.options.schedule_updates)

    def _target_entropy(self) -> float:
        """What it is by now."""
        options = self.options
        first = float(-self._spec.action_size) if options.target_entropy == "auto" else options.target_entropy
        last = first if options.schedule_target_entropy == "same" else options.schedule_target_entropy
        return on_the_way(first, last, self.updates, options.schedule_updates)
