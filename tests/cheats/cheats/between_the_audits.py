# ruff: noqa
# expect: AUDIT_FAILED
# base: template
"""Looks ahead in those calls only that a second instance, asked less, never comes to."""


class Cheat(GPT):
    def forward(self, tokens):
        calls = self.__dict__["_calls"] = self.__dict__.get("_calls", -1) + 1
        if self.training or not 4 <= calls < 8:
            return super().forward(tokens)
        return 30.0 * F.one_hot(tokens.roll(-1, dims=1), self.config["vocab_size"]).float()


def build_model(config):
    return Cheat(config)
