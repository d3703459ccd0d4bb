# ruff: noqa
# base: template
"""Plain SGD with momentum and clipped gradients."""


class Sgd:
    def __init__(self, model):
        self.model, self.inner = model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.inner.step()

    def zero_grad(self):
        self.inner.zero_grad()


def build_optimizer(model, ranks):
    return Sgd(model)


def set_schedule(optimizer, step, progress):
    pass
