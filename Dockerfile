# Two stages: build with everything, run with the shared libraries only. The server listens on a Unix socket on the volume:
#   docker build -t adamant .
#   docker run -v adamant-data:/data adamant
#   docker exec CONTAINER adamant server status
FROM debian:12 AS build
WORKDIR /src
COPY . .
RUN scripts/setup \
 && cmake --preset release \
 && cmake --build --preset release -j "$(nproc)" \
 && mkdir -p /out/bin /out/lib \
 && cp build/release/server/adamantd build/release/worker/adamant-worker build/release/client/adamant /out/bin/ \
 && cp -a .deps/libtorch/torch/lib/*.so* /out/lib/ \
 && rm -f /out/lib/libtorch_python.so

FROM debian:12-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      libgrpc++1.51 libprotobuf32 libprometheus-cpp-pull1.0 libsqlite3-0 libspdlog1.10 libyaml-cpp0.7 libssl3 zlib1g \
      libjpeg62-turbo libpng16-16 libarchive13 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 adamant \
 && mkdir /data && chown adamant /data
COPY --from=build /out/bin /usr/local/bin
COPY --from=build /out/lib /usr/local/lib/adamant
RUN echo /usr/local/lib/adamant > /etc/ld.so.conf.d/adamant.conf && ldconfig
USER adamant
VOLUME /data
ENV ADAMANT_SERVER=unix:/data/adamant.sock
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["adamant", "server", "status"]
ENTRYPOINT ["adamantd", "--data-dir", "/data/store", "--listen", "unix:/data/adamant.sock"]
