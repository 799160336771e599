# Everything that trains and scores, for a machine with a GPU. No data and no weights are in it.
#   docker build -t missing-modality-harness .
#   docker run --gpus all --network none -v /data:/data:ro -v "$PWD/runs:/runs" missing-modality-harness run --methods all --store /runs
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/harness
COPY pyproject.toml constraints.txt overrides.txt README.md LICENSE ./
COPY harness harness
COPY methods methods
RUN pip install --no-cache-dir --constraint constraints.txt uv \
    && uv pip install --system --no-cache --compile-bytecode --constraint constraints.txt --override overrides.txt ".[run,clinical,images,ray,parquet,dicom]"

RUN useradd --create-home reader
USER reader
WORKDIR /home/reader
ENTRYPOINT ["harness"]
CMD ["doctor"]
