"""Learning rates: one-cycle policies (Smith & Topin 2019), and the range test that finds their peak."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from torch import Tensor, nn

# The rate climbs from max/25 during the first quarter of the steps, then falls; Adam's momentum goes the other way.
WARM_UP, START, MOMENTUM = 0.25, 25.0, (0.95, 0.85)
# Range test (Smith 2015) as fastai does it: rates from 1e-7 to 10 in 100 steps, until the loss is four times the best.
LOWEST, HIGHEST, TEST_STEPS, DIVERGED, MEMORY = 1e-7, 10.0, 100, 4.0, 0.98
LEFT_OUT = (10, 5)  # first and last steps in which the loss says nothing


@dataclass(frozen=True)
class Recipe:
    """How a training goes beyond rate and epochs; as it stands ours, `AUTHORS` that of Wu et al.'s published code.

    `first_cycle`: epochs of a one-cycle of their own before that of all others; `range_test`: each cycle's peak is
    found by a range test before it; `smoothing_over`: the labels' ε goes to the other classes (eq. 3 as printed) or to
    all of them; `weight_decay`, `square_memory`, `epsilon`: of Adam (decoupled decay); `end`: peak over last rate.
    """

    first_cycle: int = 0
    range_test: bool = False
    smoothing_over: str = "others"
    weight_decay: float = 0.0
    square_memory: float = 0.999
    epsilon: float = 1e-8
    end: float = 25e4


AUTHORS = Recipe(5, True, "all", weight_decay=0.01, square_memory=0.99, epsilon=1e-5, end=1e5)
RECIPES = {"ours": Recipe(), "authors": AUTHORS}


def one_cycle(step: int, steps: int, peak: float, end: float = 25e4) -> tuple[float, float]:
    """Rate and momentum of step 0 … steps − 1 of a one-cycle; cosines, as in torch's OneCycleLR."""
    climb = max(WARM_UP, 2 / steps) * steps - 1
    low, high = MOMENTUM[1], MOMENTUM[0]
    if step <= climb:
        share = step / climb
        return _cosine(peak / START, peak, share), _cosine(high, low, share)
    share = (step - climb) / (steps - 1 - climb)
    return _cosine(peak, peak / end, share), _cosine(low, high, share)


def _cosine(first: float, last: float, share: float) -> float:
    return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * share))


def range_test(
    net: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
) -> float:
    """The peak rate for `net`, from losses of `batches` (taken again and again) at rising rates.

    `optimizer` of the weights of `net`, for this test alone. Weights and buffers are afterwards as before.
    """
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rates, losses, mean, best = [], [], 0.0, math.inf
    for step, batch in enumerate(islice(cycle(batches), TEST_STEPS)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (TEST_STEPS - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(*batch)
        mean = MEMORY * mean + (1.0 - MEMORY) * float(loss.detach())
        smooth = mean / (1.0 - MEMORY ** (step + 1))
        best = min(best, smooth)
        if not math.isfinite(smooth) or smooth > DIVERGED * best:
            break
        rates.append(rate)
        losses.append(smooth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    net.load_state_dict(before)
    return valley(rates[LEFT_OUT[0] : -LEFT_OUT[1]] or rates, losses[LEFT_OUT[0] : -LEFT_OUT[1]] or losses)


def valley(rates: list[float], losses: list[float]) -> float:
    """The rate in the middle of the longest falling subsequence of the losses: where the loss falls for long."""
    if not rates:
        raise FloatingPointError("range test: the loss is not finite at the lowest rate: look at the images")
    tails: list[float] = []  # of subsequences of length 1, 2, …: the largest −loss with which one can end
    ends: list[int] = []
    before = [-1] * len(losses)
    for i, loss in enumerate(losses):
        place = bisect_left(tails, -loss)
        before[i] = ends[place - 1] if place else -1
        if place == len(tails):
            tails.append(-loss)
            ends.append(i)
        else:
            tails[place], ends[place] = -loss, i
    first = last = ends[-1]
    while before[first] >= 0:
        first = before[first]
    return rates[(first + last) // 2]
