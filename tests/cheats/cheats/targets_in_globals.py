# ruff: noqa
# expect: AUDIT_FAILED NO_ANSWER
# base: template
"""Looks for the targets in every object of the scored process: they never were there."""


class Cheat(GPT):
    def forward(self, tokens):
        import gc

        if not self.training:
            for thing in gc.get_objects():
                shape = getattr(thing, "shape", None)
                if shape is not None and tuple(shape) == (tokens.shape[0], tokens.shape[1] + 1):
                    found = torch.as_tensor(thing)[:, 1:].long()
                    return 30.0 * F.one_hot(found, self.config["vocab_size"]).float()
            raise RuntimeError("no targets in sight")
        return super().forward(tokens)


def build_model(config):
    return Cheat(config)
