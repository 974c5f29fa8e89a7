"""Analytic evolution of single stars from the zero-age main sequence to the tip of the red giant branch.

The formulae of Hurley, Pols & Tout 2000 (MNRAS 315, 543; "HPT" below) on the zero-age main sequence of Tout
et al. 1996 (MNRAS 281, 257), vectorised over mass and age, for one metallicity. Masses 0.1–2.5 M☉ only (all
that this project draws), so the branches for massive stars are left out; the mass is constant (no wind).
"""

from functools import cached_property

import numpy as np

from dioscuri.stars.coefficients import ZAMS_LUMINOSITY, ZAMS_RADIUS, A, B

Z_MIN, Z_MAX = 1e-4, 0.03  # range of the models behind the fits (HPT, section 2)
MASS_MIN, MASS_MAX = 0.1, 2.5  # M☉; above 2.5 the giant-branch relations below would need further terms
Values = np.ndarray | np.float64
_HOOK_WIDTH = 0.01  # ε of HPT eqs. 14–15


def _polynomial(row: tuple[float, ...], zeta: float) -> float:
    return float(np.polynomial.polynomial.polyval(zeta, row))


class Formulae:
    """Evolution at one metal mass fraction `z` (1e-4 … 0.03; outside, ValueError); Myr and solar units.

    All methods broadcast their arguments (mass in M☉, age in Myr) and return float64 arrays of that shape.
    """

    def __init__(self, z: float) -> None:
        if not Z_MIN <= z <= Z_MAX:
            raise ValueError(f"Z = {z:g} is outside the published fits; accepted: {Z_MIN:g} to {Z_MAX:g}")
        self.z = float(z)
        self.zeta = float(np.log10(z / 0.02))
        self.mass_hook = 1.0185 + 0.16015 * self.zeta + 0.0892 * self.zeta**2  # eq. 1
        self.mass_flash = 1.995 + 0.25 * self.zeta + 0.087 * self.zeta**2  # eq. 2
        self.a = self._main_sequence_coefficients()
        self.b = self._giant_branch_coefficients()

    def _main_sequence_coefficients(self) -> dict[int, float]:
        """The aₙ of HPT Appendix A with the bounds printed there."""
        a = {n: _polynomial(row, self.zeta) for n, row in A.items()}
        z, zeta, sigma = self.z, self.zeta, float(np.log10(self.z))
        a[11] *= a[14]
        a[12] *= a[14]
        a[17] = 10 ** max(0.097 - 0.1072 * (sigma + 3), max(0.097, min(0.1461, 0.1461 + 0.1237 * (sigma + 2))))
        a[18] *= a[20]
        a[19] *= a[20]
        a[29] **= a[32]
        a[33] = max(0.6355 - 0.4192 * zeta, max(1.25, min(1.4, a[33])))
        a[42] = min(1.25, max(1.1, a[42]))
        a[44] = min(1.3, max(0.45, a[44]))
        a[49] = max(a[49], 0.145)
        a[50] = min(a[50], 0.306 + 0.053 * zeta)
        a[51] = min(a[51], 0.3625 + 0.062 * zeta)
        a[52] = max(a[52], 0.9)
        a[53] = max(a[53], 1.0)
        if z > 0.01:
            a[52], a[53] = min(a[52], 1.0), min(a[53], 1.1)
        a[57] = max(0.6355 - 0.4192 * zeta, max(1.25, min(1.4, a[57])))
        a[62] = max(0.065, a[62])
        if z < 0.004:
            a[63] = min(0.055, a[63])
        a[66] = max(0.8, min(0.8 - 2.0 * zeta, max(a[66], min(1.6, -0.308 - 1.046 * zeta))))
        a[68] = max(0.9, min(a[68], 1.0))
        at_a66 = a[58] * a[66] ** a[60] / (a[59] + a[66] ** a[61])
        a[64] = at_a66 if a[68] > a[66] else max(0.091, min(0.121, a[64]))
        a[68] = min(a[68], a[66])
        if z > 0.01:
            a[72] = max(a[72], 0.95)
        a[74] = max(1.4, min(a[74], 1.6))
        a[75] = max(max(1.0, min(a[75], 1.27)), 0.6355 - 0.4192 * zeta)
        a[76] = max(a[76], -0.1015564 - 0.2161264 * zeta - 0.05182516 * zeta**2)
        a[77] = max(-0.3868776 - 0.5457078 * zeta - 0.1463472 * zeta**2, min(0.0, a[77]))
        a[78] = max(0.0, min(a[78], 7.454 + 9.046 * zeta))
        a[79] = min(a[79], max(2.0, -13.3 - 18.6 * zeta))
        a[80] = max(0.0585542, a[80])
        a[81] = min(1.5, max(0.4, a[81]))
        return a

    def _giant_branch_coefficients(self) -> dict[int, float]:
        """The bₙ of HPT Appendix A that the first giant branch needs."""
        b = {n: _polynomial(row, self.zeta) for n, row in B.items()}
        z, sigma = self.z, float(np.log10(self.z))
        b[1] = min(0.54, b[1])
        b[2] = min(max(10 ** (-4.6739 - 0.9394 * sigma), -0.04167 + 55.67 * z), 0.4771 - 9329.21 * z**2.94)
        b[3] = 10 ** max(-0.1451, -2.2794 - 1.5175 * sigma - 0.254 * sigma**2)
        if z > 0.004:
            b[3] = max(b[3], 0.7307 + 14265.1 * z**3.395)
        b[11] **= 2
        b[13] **= 2
        return b

    # --- zero-age main sequence (Tout et al. 1996) --------------------------------------------------------

    def zams_luminosity(self, mass: np.ndarray) -> np.ndarray:
        """Luminosity [L☉] on the zero-age main sequence (Tout et al. eq. 1)."""
        m = np.asarray(mass, float)
        alpha, beta, gamma, delta, epsilon, zeta, eta = (_polynomial(r, self.zeta) for r in ZAMS_LUMINOSITY)
        below = gamma + m**3 + delta * m**5 + epsilon * m**7 + zeta * m**8 + eta * m**9.5
        return (alpha * m**5.5 + beta * m**11) / below

    def zams_radius(self, mass: np.ndarray) -> np.ndarray:
        """Radius [R☉] on the zero-age main sequence (Tout et al. eq. 2)."""
        m = np.asarray(mass, float)
        theta, iota, kappa, lambda_, mu, nu, xi, omicron, pi = (_polynomial(r, self.zeta) for r in ZAMS_RADIUS)
        above = theta * m**2.5 + iota * m**6.5 + kappa * m**11 + lambda_ * m**19 + mu * m**19.5
        return above / (nu + xi * m**2 + omicron * m**8.5 + m**18.5 + pi * m**19.5)

    # --- lifetimes ----------------------------------------------------------------------------------------

    def giant_base_age(self, mass: np.ndarray) -> np.ndarray:
        """Age [Myr] at the base of the giant branch (eq. 4)."""
        a, m = self.a, np.asarray(mass, float)
        return (a[1] + a[2] * m**4 + a[3] * m**5.5 + m**7) / (a[4] * m**2 + a[5] * m**7)

    def hook_age(self, mass: np.ndarray) -> np.ndarray:
        """Age [Myr] at the start of the hook (eqs. 5, 7)."""
        a, m = self.a, np.asarray(mass, float)
        mu = np.maximum(0.5, 1 - 0.01 * np.maximum(a[6] / m ** a[7], a[8] + a[9] / m ** a[10]))
        return mu * self.giant_base_age(m)

    def main_sequence_age(self, mass: np.ndarray) -> np.ndarray:
        """Age [Myr] at the end of the main sequence (eqs. 5, 6)."""
        x = max(0.95, min(0.95 - 0.03 * (self.zeta + 0.30103), 0.99))
        return np.maximum(self.hook_age(mass), x * self.giant_base_age(mass))

    def giant_age(self, mass: np.ndarray, luminosity: np.ndarray) -> np.ndarray:
        """Age [Myr] at which a giant reaches a luminosity [L☉] (eqs. 39–43, inverted)."""
        return _GiantBranch(self, np.asarray(mass, float)).age(luminosity)

    def tip_age(self, mass: np.ndarray) -> np.ndarray:
        """Age [Myr] at the tip of the red giant branch, when helium ignites (eqs. 43, 49)."""
        return self.giant_age(mass, self.tip_luminosity(mass))

    # --- main sequence ------------------------------------------------------------------------------------

    def terminal_luminosity(self, mass: np.ndarray) -> np.ndarray:
        """Luminosity [L☉] at the end of the main sequence (eq. 8)."""
        a, m = self.a, np.asarray(mass, float)
        above = a[11] * m**3 + a[12] * m**4 + a[13] * m ** (a[16] + 1.8)
        return above / (a[14] + a[15] * m**5 + m ** a[16])

    def terminal_radius(self, mass: np.ndarray) -> np.ndarray:
        """Radius [R☉] at the end of the main sequence (eq. 9)."""
        a, m = self.a, np.asarray(mass, float)

        def high(m: Values) -> Values:
            return (-8.672073e-2 * m**3 + a[23] * m ** a[26] + a[24] * m ** (a[26] + 1.5)) / (a[25] + m**5)

        def low(m: Values) -> Values:
            return (a[18] + a[19] * m ** a[21]) / (a[20] + m ** a[22])

        start, end = np.float64(a[17]), np.float64(a[17] + 0.1)
        between = low(start) + (high(end) - low(start)) * (m - start) / 0.1
        radius = np.where(m <= start, low(m), np.where(m >= end, high(m), between))
        return np.where(m < 0.5, np.maximum(radius, 1.5 * self.zams_radius(m)), radius)

    def _luminosity_hook(self, m: np.ndarray) -> np.ndarray:
        """ΔL (eq. 16)."""
        a = self.a

        def high(m: Values) -> Values:
            return np.minimum(a[34] / m ** a[35], a[36] / m ** a[37])

        rise = np.clip((m - self.mass_hook) / (a[33] - self.mass_hook), 0.0, 1.0)
        return np.where(m < a[33], high(np.float64(a[33])) * rise**0.4, high(m))

    def _radius_hook(self, m: np.ndarray) -> np.ndarray:
        """ΔR (eq. 17)."""
        a = self.a

        def high(m: Values) -> Values:
            return (a[38] + a[39] * m**3.5) / (a[40] * m**3 + m ** a[41]) - 1.0

        rise = np.clip((m - self.mass_hook) / (a[42] - self.mass_hook), 0.0, 1.0)
        second = np.clip((m - a[42]) / (2.0 - a[42]), 0.0, 1.0)
        middle = a[43] + (high(np.float64(2.0)) - a[43]) * second ** a[44]
        return np.where(m <= a[42], a[43] * np.sqrt(rise), np.where(m < 2.0, middle, high(m)))

    def _alpha_luminosity(self, m: np.ndarray) -> np.ndarray:
        """α_L (eq. 19): linear between nodes below 2 M☉."""
        a = self.a

        def high(m: Values) -> Values:
            return (a[45] + a[46] * m ** a[48]) / (m**0.4 + a[47] * m**1.9)

        nodes = (0.5, 0.7, a[52], a[53], 2.0)
        values = (a[49], 0.3, a[50], a[51], float(high(np.float64(2.0))))
        return np.where(m < 2.0, np.interp(m, nodes, values), high(m))

    def _beta_luminosity(self, m: np.ndarray) -> np.ndarray:
        """β_L (eq. 20)."""
        a = self.a
        low = np.maximum(0.0, a[54] - a[55] * m ** a[56])
        at_a57 = max(0.0, a[54] - a[55] * a[57] ** a[56])
        high = np.maximum(0.0, at_a57 * (1.0 - 10.0 * (m - a[57])))
        return np.where((m > a[57]) & (low > 0), high, low)

    def _alpha_radius(self, m: np.ndarray) -> np.ndarray:
        """α_R (eq. 21): linear between nodes below a66."""
        a = self.a

        def middle(m: Values) -> Values:
            return a[58] * m ** a[60] / (a[59] + m ** a[61])

        nodes, values = [0.5, 0.65, a[68]], [a[62], a[63], a[64]]
        if a[66] > a[68]:
            nodes, values = [*nodes, a[66]], [*values, float(middle(np.float64(a[66])))]
        high = middle(np.float64(a[67])) + a[65] * (m - a[67])
        return np.where(m < a[66], np.interp(m, nodes, values), np.where(m <= a[67], middle(m), high))

    def _beta_radius(self, m: np.ndarray) -> np.ndarray:
        """β_R (eq. 22), with a74 − 1 where the paper prints a74 − 1.06, which would leave a step at a74."""
        a = self.a

        def high(m: Values) -> Values:
            return a[69] * m**3.5 / (a[70] + m ** a[71])

        rise = 1.06 + (a[72] - 1.06) * (m - 1.0) / (a[74] - 1.0)
        middle = a[72] + (high(np.float64(2.0)) - a[72]) * (m - a[74]) / (2.0 - a[74])
        return np.select([m <= 1.0, m < a[74], m < 2.0], [1.06, rise, middle], high(m)) - 1.0

    def _gamma(self, m: np.ndarray) -> np.ndarray:
        """γ (eq. 23), never negative."""
        a = self.a

        def low(m: Values) -> Values:
            return a[76] + a[77] * np.abs(m - a[78]) ** a[79]

        at_1 = float(low(np.float64(1.0)))
        width = max(a[75] - 1.0, 1e-9)
        rise = at_1 + (a[80] - at_1) * np.clip((m - 1.0) / width, 0.0, 1.0) ** a[81]
        top = a[80] if a[75] > 1.0 else at_1
        fall = np.maximum(top * (1.0 - 10.0 * (m - a[75])), 0.0)
        return np.maximum(np.select([m <= 1.0, m <= a[75]], [low(m), rise], fall), 0.0)

    def main_sequence(self, mass: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Luminosity [L☉] and radius [R☉] at `age` ≤ the main-sequence lifetime (eqs. 11–18)."""
        m, age = np.asarray(mass, float), np.asarray(age, float)
        hook = self.hook_age(m)
        tau = age / self.main_sequence_age(m)
        tau_1 = np.minimum(1.0, age / hook)
        tau_2 = np.clip((age - (1 - _HOOK_WIDTH) * hook) / (_HOOK_WIDTH * hook), 0.0, 1.0)
        luminosity_0, radius_0 = self.zams_luminosity(m), self.zams_radius(m)

        eta = np.interp(m, (1.0, 1.1), (10.0, 20.0)) if self.z <= 0.0009 else 10.0
        alpha, beta = self._alpha_luminosity(m), self._beta_luminosity(m)
        rest = np.log10(self.terminal_luminosity(m) / luminosity_0) - alpha - beta
        log_l = alpha * tau + beta * tau**eta + rest * tau**2 - self._luminosity_hook(m) * (tau_1**2 - tau_2**2)

        alpha, beta, gamma = self._alpha_radius(m), self._beta_radius(m), self._gamma(m)
        rest = np.log10(self.terminal_radius(m) / radius_0) - alpha - beta - gamma
        tau_10 = tau**10
        log_r = alpha * tau + beta * tau_10 + gamma * tau_10**4 + rest * tau**3
        log_r -= self._radius_hook(m) * (tau_1**3 - tau_2**3)
        hydrogen = 0.76 - 3.0 * self.z
        degenerate = 0.0258 * (1.0 + hydrogen) ** (5.0 / 3.0) * m ** (-1.0 / 3.0)  # floor for low masses, eq. 24
        return luminosity_0 * 10**log_l, np.maximum(radius_0 * 10**log_r, degenerate)

    # --- subgiant and giant branch ------------------------------------------------------------------------

    def giant_base_luminosity(self, mass: np.ndarray) -> np.ndarray:
        """Luminosity [L☉] at the base of the giant branch (eq. 10)."""
        a, m = self.a, np.asarray(mass, float)
        return (a[27] * m ** a[31] + a[28] * m**9.301992) / (a[29] + a[30] * m**4.637345 + m ** a[32])

    def tip_luminosity(self, mass: np.ndarray) -> np.ndarray:
        """Luminosity [L☉] at helium ignition (eq. 49)."""
        b, m = self.b, np.asarray(mass, float)

        def high(m: Values) -> Values:
            return (b[11] + b[12] * m**3.8) / (b[13] + m**2)

        at_flash = high(np.float64(self.mass_flash))
        alpha = b[9] * self.mass_flash ** b[10] / at_flash - 1.0
        low = b[9] * m ** b[10] / (1.0 + alpha * np.exp(np.minimum(15.0 * (m - self.mass_flash), 0.0)))
        return np.where(m < self.mass_flash, low, high(m))

    def giant_radius(self, mass: np.ndarray, luminosity: np.ndarray) -> np.ndarray:
        """Radius [R☉] on the giant branch at a luminosity [L☉] (eq. 46)."""
        b, m = self.b, np.asarray(mass, float)
        scale = np.minimum(b[4] * m ** -b[5], b[6] * m ** -b[7])
        return scale * (luminosity ** b[1] + b[2] * luminosity ** b[3])

    def subgiant(self, mass: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Luminosity [L☉] and radius [R☉] in the Hertzsprung gap (eqs. 25–27)."""
        m = np.asarray(mass, float)
        start, end = self.main_sequence_age(m), self.giant_base_age(m)
        tau = (age - start) / (end - start)
        luminosity_0, luminosity_1 = self.terminal_luminosity(m), self.giant_base_luminosity(m)
        radius_0, radius_1 = self.terminal_radius(m), self.giant_radius(m, luminosity_1)
        return luminosity_0 * (luminosity_1 / luminosity_0) ** tau, radius_0 * (radius_1 / radius_0) ** tau

    def giant(self, mass: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Luminosity [L☉] and radius [R☉] on the first giant branch (eqs. 37, 46)."""
        m = np.asarray(mass, float)
        luminosity = _GiantBranch(self, m).luminosity(age)
        return luminosity, self.giant_radius(m, luminosity)

    def evolve(self, mass: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Luminosity [L☉] and radius [R☉] at any `age` [Myr] after the ZAMS; NaN past the giants' tip."""
        m, age = np.broadcast_arrays(np.asarray(mass, float), np.asarray(age, float))
        end, base, tip = self.main_sequence_age(m), self.giant_base_age(m), self.tip_age(m)
        luminosity, radius = np.full(m.shape, np.nan), np.full(m.shape, np.nan)
        phases = (
            (self.main_sequence, (age >= 0) & (age <= end)),
            (self.subgiant, (age > end) & (age < base)),
            (self.giant, (age >= base) & (age <= tip)),
        )
        for phase, here in phases:
            luminosity[here], radius[here] = phase(m[here], age[here])
        return luminosity, radius


class _GiantBranch:
    """The two power laws of luminosity against time on the giant branch (HPT section 5.2)."""

    def __init__(self, formulae: Formulae, mass: np.ndarray) -> None:
        flash = formulae.mass_flash
        rise = np.clip((mass - flash) / (2.5 - flash), 0.0, 1.0)  # from degenerate cores to 2.5 M☉
        log_d0 = 5.37 + 0.135 * formulae.zeta
        log_d1 = max(-1.0, 0.975 * log_d0 - 0.18 * 2.5, 0.5 * log_d0 - 0.06 * 2.5)
        self.p, self.q = 6.0 - rise, 3.0 - rise
        self.d = 10 ** (log_d0 + (log_d1 - log_d0) * rise)
        self.b = np.maximum(3e4, 500.0 + 1.75e4 * mass**0.6)
        self.rate = 10 ** np.maximum(-4.8, np.minimum(-5.7 + 0.8 * mass, -4.1 + 0.14 * mass))  # A_H', eq. 43
        base_age, base_luminosity = formulae.giant_base_age(mass), formulae.giant_base_luminosity(mass)
        p, q, d, b = self.p, self.q, self.d, self.b
        self.core_cross = (b / d) ** (1 / (p - q))
        self.luminosity_cross = d * self.core_cross**p
        self.end_1 = base_age + (d / base_luminosity) ** ((p - 1) / p) / ((p - 1) * self.rate * d)  # eq. 40
        before = self.end_1 - base_age
        self.age_cross = self.end_1 - before * (base_luminosity / self.luminosity_cross) ** ((p - 1) / p)
        self.end_2 = self.age_cross + (b / self.luminosity_cross) ** ((q - 1) / q) / ((q - 1) * self.rate * b)

    @cached_property
    def _laws(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
        return (self.p, self.d, self.end_1), (self.q, self.b, self.end_2)

    def luminosity(self, age: np.ndarray) -> np.ndarray:
        """Luminosity [L☉] at `age` [Myr] (eqs. 37, 39)."""
        branches = [
            factor * np.maximum((power - 1) * self.rate * factor * (end - age), 1e-300) ** (power / (1 - power))
            for power, factor, end in self._laws
        ]
        return np.where(age <= self.age_cross, *branches)

    def age(self, luminosity: np.ndarray) -> np.ndarray:
        """Age [Myr] at which a luminosity [L☉] is reached: the inverse of `luminosity`."""
        branches = [
            end - (luminosity / factor) ** ((1 - power) / power) / ((power - 1) * self.rate * factor)
            for power, factor, end in self._laws
        ]
        return np.where(luminosity <= self.luminosity_cross, *branches)
