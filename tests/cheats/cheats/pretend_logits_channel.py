# ruff: noqa
# expect: AUDIT_FAILED NOT_FINITE
# base: template
"""Patches the harness's channel to answer OK without logits: the shared page was filled with NaN."""

import trainer.harness.logit_channel as channel


def serve(self, *answer):
    while True:
        request = channel.read_exactly(self._request, channel.HEADER.size, None)
        if channel.HEADER.unpack(request)[3] & channel.END:
            return
        channel.write_all(self._reply, channel.OK)


channel.LogitServer.serve = serve
