"""The five polynomials of degree 5 of Polar Express (Amsel, Persson, Musco, Gower, arXiv 2505.16932), derived anew.

    python make_polar_express.py         (prints how far the published coefficients are from the derived ones)

The paper composes, greedily, the odd polynomial p(x) = a x + b x^3 + c x^5 nearest to 1 in the maximum norm on
[l, u], then maps (l, u) to (p(l), 2 - p(l)), from l = 1e-3 and u = 1. Two details are the paper's too: the lower end is
taken as at least 0.02407327424182761 u (no polynomial may push a middling singular value far down), after which p
is rescaled to be centred on 1 over [l, u]. At run time p(x / 1.01) is used, for safety, on M / (1.01 |M|_F + 1e-7).
"""
import numpy as np

COEFFICIENTS = [  # as published, before the 1.01
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
]


def nearest_to_one(l, u):
    """Remez exchange: move four points until p - 1 is +-e at both ends and at both inner extrema."""
    points = np.array([l, (3 * l + u) / 4, (l + 3 * u) / 4, u])
    for _ in range(100):
        system = np.stack([points, points**3, points**5, [1, -1, 1, -1]], axis=1)
        a, b, c, _ = np.linalg.solve(system, np.ones(4))
        points[1:3] = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a])))
    return np.array([a, b, c])


def compose(l=1e-3, u=1.0, floor=0.02407327424182761, steps=5):
    for _ in range(steps):
        p = nearest_to_one(max(l, floor * u), u)
        at = lambda x: p @ [x, x**3, x**5]
        p = p * (2 / (at(l) + at(u)))
        l = at(l)
        u = 2 - l
        yield p


if __name__ == "__main__":
    for derived, published in zip(compose(), COEFFICIENTS):
        print(derived, "relative difference", np.abs(derived / published - 1).max())
