# mezzotint in a container. docs/tutorials/container.md says how to build it and run it.
#
#   docker build -t mezzotint .                                       for CPUs
#   docker build -t mezzotint:cuda --build-arg TORCH=cu128 .          for NVIDIA GPUs
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# The builds of torch to choose from, a name below https://download.pytorch.org/whl: cpu, cu126, cu128 ...
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mezzotint
ENV PATH=/opt/mezzotint/bin:$PATH
WORKDIR /source
# The dependencies are a layer of their own, which a change of the source leaves as it is.
COPY pyproject.toml .
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*p['dependencies'], *p['optional-dependencies']['parquet'], sep='\n')" > /requirements.txt \
    && pip install --extra-index-url https://download.pytorch.org/whl/${TORCH} -r /requirements.txt
COPY README.md LICENSE ./
COPY docs/package.py docs/links.py docs/
COPY src src
RUN pip install --no-deps .

FROM python:${PYTHON}-slim
# torch compiles networks with it where that saves time: in long trainings and for many samples.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/mezzotint /opt/mezzotint
RUN useradd --uid 1000 --no-create-home --home-dir /data mezzotint \
    && mkdir /data \
    && chown mezzotint /data
# All that is written lies in /data. USER is for users of `docker run --user` without a name.
ENV PATH=/opt/mezzotint/bin:$PATH \
    HOME=/data \
    USER=mezzotint \
    MEZZOTINT_CACHE=/data/cache \
    HF_HOME=/data/cache/huggingface \
    MPLCONFIGDIR=/data/cache/matplotlib \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/inductor \
    TRITON_CACHE_DIR=/data/cache/triton \
    PYTHONUNBUFFERED=1
USER mezzotint
WORKDIR /data
VOLUME /data
ENTRYPOINT ["mezzotint"]
CMD ["--help"]
