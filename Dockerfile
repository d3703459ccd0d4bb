# One image for each daemon, from one file: docker build --target entropyd|memoryd|trainer|agent|init|relay .
# BASE_IMAGE is an argument so that a mirror or an own base can take its place.
ARG BASE_IMAGE=debian:12.12-slim

FROM ${BASE_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 lab && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent lab \
 && install -d -o lab -g lab -m 0750 /state /secrets
# Named volumes take owner and mode of the folder they cover at their first use.

FROM base AS tools
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv python3-pip \
 && python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==0.13.9 \
 && python3 -m venv --without-pip /opt/venv
# Compiled once here: the images are read-only, and torch from source takes twice the time to import.
ENV VIRTUAL_ENV=/opt/venv UV_LINK_MODE=copy UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
WORKDIR /source
COPY constraints.txt ./

FROM tools AS build
COPY pyproject.toml README.md LICENSE ./
COPY services services
COPY proto proto

FROM build AS build-entropyd
COPY entropyd entropyd
COPY memoryd/__init__.py memoryd/__init__.py
COPY trainer/__init__.py trainer/__init__.py
COPY agent/__init__.py agent/__init__.py
# Left out for size: compiled code, numpy's tests, type stubs, and the wheel's second copy of librtlsdr.
RUN env -u UV_COMPILE_BYTECODE /opt/uv/bin/uv pip install --no-compile-bytecode -q -c constraints.txt ".[entropyd,rtlsdr,otel]" \
 && find /opt/venv -type d -name tests -path '*/numpy/*' -prune -exec rm -rf {} + \
 && find /opt/venv -name '*.pyi' -delete \
 && find /opt/venv -name 'librtlsdr.so.0.*' -execdir ln -sf librtlsdr.so.0 {} \;

FROM build AS build-memoryd
COPY memoryd memoryd
COPY entropyd/__init__.py entropyd/__init__.py
COPY trainer/__init__.py trainer/__init__.py
COPY agent/__init__.py agent/__init__.py
RUN /opt/uv/bin/uv pip install -q -c constraints.txt ".[memoryd,postgres,mcp,otel]"

# Before any code of ours, so that a change of it does not fetch torch again.
FROM tools AS torch
# cpu: a CPU build of torch, from PIP_FIND_LINKS when the base image has one, else from the PyTorch index.
# cuda: the ordinary build, which carries CUDA.
ARG TORCH_BUILD=cpu
RUN if [ "$TORCH_BUILD" = cuda ]; then /opt/uv/bin/uv pip install -q -c constraints.txt torch; \
    elif ls "${PIP_FIND_LINKS:-/nowhere}"/torch-*+cpu-*.whl >/dev/null 2>&1; then \
      UV_FIND_LINKS=$PIP_FIND_LINKS /opt/uv/bin/uv pip install -q -c constraints.txt torch; \
    else /opt/uv/bin/uv pip install -q -c constraints.txt --torch-backend cpu torch; fi

FROM torch AS build-trainer
COPY pyproject.toml README.md LICENSE ./
COPY services services
COPY proto proto
COPY trainer trainer
COPY entropyd/__init__.py entropyd/__init__.py
COPY memoryd/__init__.py memoryd/__init__.py
COPY agent/__init__.py agent/__init__.py
RUN /opt/uv/bin/uv pip install -q -c constraints.txt ".[trainer,torch,otel]"

FROM build AS build-agent
COPY agent agent
COPY entropyd/__init__.py entropyd/__init__.py
COPY memoryd/__init__.py memoryd/__init__.py
COPY trainer/__init__.py trainer/__init__.py
RUN /opt/uv/bin/uv pip install -q -c constraints.txt ".[agent,anthropic,openai,gemini,mcp,otel]"

# Makes tokens into volumes at the first `up`; needs root for ownership only, and no network.
FROM base AS init
COPY .ci/compose-init /usr/local/bin/compose-init
ENTRYPOINT ["/usr/local/bin/compose-init"]

FROM base AS relay
RUN apt-get update && apt-get install -y --no-install-recommends socat && apt-get clean && rm -rf /var/lib/apt/lists/*
USER lab
ENTRYPOINT ["socat"]

FROM base AS entropyd
COPY --from=build-entropyd /opt/venv /opt/venv
USER lab
EXPOSE 50051 9090
ENTRYPOINT ["entropyd"]

FROM base AS memoryd
COPY --from=build-memoryd /opt/venv /opt/venv
USER lab
EXPOSE 50052 8765
ENTRYPOINT ["memoryd"]

FROM base AS trainer
# bubblewrap is used where the kernel lets an unprivileged user make namespaces, Landlock elsewhere.
# gcc: torch.compile builds its launchers with it on a GPU.
ARG TORCH_BUILD=cpu
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap \
      $(if [ "$TORCH_BUILD" = cuda ]; then echo gcc libc6-dev python3-dev; fi) \
 && apt-get clean && rm -rf /var/lib/apt/lists/* && install -d -o lab -g lab -m 0750 /data
COPY --from=build-trainer /opt/venv /opt/venv
USER lab
EXPOSE 50053 9464
ENTRYPOINT ["trainerd"]

FROM base AS agent
RUN apt-get update && apt-get install -y --no-install-recommends git && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && install -d -o lab -g lab -m 0750 /lab
COPY --from=build-agent /opt/venv /opt/venv
USER lab
EXPOSE 50054 8780
ENTRYPOINT ["autoresearch"]
