"""Networks that are exact average velocities of Gaussian data, for every process."""

import torch
from torch import nn

from genmods.diffusion.process import per_sample


def average_velocity(z, t, r, c):
    """u = z (1 - S_r/S_t)/(t - r) on x0 ~ N(0, c²), S² = (1 - t)² c² + t², in a form that holds at r = t."""
    s_t, s_r = (((1 - time) ** 2 * c**2 + time**2).sqrt() for time in (t, r))
    return z * ((t + r) * (1 + c**2) - 2 * c**2) / (s_t * (s_t + s_r))


def outputs(z, u, s, t):
    """What a network returns for each prediction, by the noise level s = σ/α at the time t of rectified flow."""
    x0, eps, norm = z - t * u, z + (1 - t) * u, (1 + s**2).sqrt()
    v = (eps - s * x0) / norm
    return {"x0": x0, "eps": eps, "v": v, "karras": -v}


class FlowMap(nn.Module):
    """The exact network, for data of unit root mean square as far as its input is concerned.

    Args:
        prediction: What it returns.
        c: The standard deviation of the data, or a function of the condition.
    """

    two_times, log_snr_limit = True, 30.0

    def __init__(self, prediction, c=0.5):
        super().__init__()
        self.prediction, self.c = prediction, c

    def average(self, z, t, r, cond):
        return average_velocity(z, t, r, self.c)

    def forward(self, x, log_snr, cond=None):
        cond = cond or {}
        s = per_sample(torch.exp(-log_snr / 2), x)
        t, r = (per_sample(torch.sigmoid(-one / 2), x) for one in (log_snr, cond.get("end", log_snr)))
        z = x * (1 + s**2).sqrt() / (1 + s)
        return outputs(z, self.average(z, t, r, cond), s, t)[self.prediction]
