"""When to lower the learning rate and when to stop, from the validation loss alone."""

from dataclasses import dataclass
from math import inf


@dataclass
class Schedule:
    """The learning rate from epoch to epoch; call `update` after each. All fields are its state.

    literal: rate / 5 after any epoch whose validation loss is above the previous epoch's; stop after
    `stop_patience` = 10 consecutive rises (Zhang et al. 2022, §3.2).
    patience: rate / 5 after each `patience` epochs without a new best, stop after `stop_patience` of them.
    Both stop when the rate falls below `floor`, where weights no longer move; 0 switches that off.
    """

    kind: str = "literal"
    learning_rate: float = 1e-3
    patience: int = 3
    stop_patience: int = 10
    floor: float = 1e-6
    previous: float = inf
    best: float = inf
    count: int = 0  # consecutive rises (literal) or epochs since the best (patience)
    stop_reason: str = ""

    FACTOR = 5.0

    def __post_init__(self) -> None:
        if self.kind not in ("literal", "patience"):
            raise ValueError(f"unknown schedule '{self.kind}': use 'literal' or 'patience'")

    def update(self, loss: float) -> bool:
        """Take the validation loss of the epoch just finished; True if it is the best so far."""
        improved, rose = loss < self.best, loss > self.previous
        self.best, self.previous = min(self.best, loss), loss
        worse = rose if self.kind == "literal" else not improved
        self.count = self.count + 1 if worse else 0
        if worse and (self.kind == "literal" or self.count % self.patience == 0):
            self.learning_rate /= self.FACTOR
        if self.count >= self.stop_patience:
            literal = self.kind == "literal"
            what = "consecutive rises of the validation loss" if literal else "epochs without improvement"
            self.stop_reason = f"{self.count} {what}"
        elif self.learning_rate < self.floor:
            self.stop_reason = f"learning rate below {self.floor:g}"
        return improved
