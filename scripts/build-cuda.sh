#!/usr/bin/env bash
# Builds with `--features cuda` where no CUDA toolkit is installed: nvcc and the libraries come from NVIDIA's Python wheels, and a stand-in for the driver's libcuda is
# made to link against. With a toolkit none of this is needed: `cargo build --release --features cuda` (docs/gpu.md).
#
# usage: scripts/build-cuda.sh FOLDER [CARGO ARGUMENTS]
#   FOLDER            where the toolkit is put together (2 GB); what is there already is used
#   CARGO ARGUMENTS   in place of `build --release --features cuda`
#
# Needs python3 with pip, a C and C++ compiler, cargo, and a network for 675 MB at the first run. CUDA_COMPUTE_CAP is the GPU's compute capability
# without its dot, 90 (H100) if it is not set; CUDAFORGE_THREADS how many compilers run at a time.
set -euo pipefail

folder=${1:?usage: scripts/build-cuda.sh FOLDER [CARGO ARGUMENTS]}
shift
[[ $# -gt 0 ]] || set -- build --release --features cuda
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
toolkit=$folder/cuda

if [[ ! -x $toolkit/bin/nvcc ]]; then
    python3 -m pip download --quiet --no-deps --dest "$folder/wheels" \
        nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 \
        nvidia-cuda-cccl==13.0.85 nvidia-cublas==13.0.2.14 nvidia-curand==10.4.0.35 nvidia-cuda-nvrtc==13.0.88
    rm -rf "$folder/unpacked" "$toolkit"
    for wheel in "$folder"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$folder/unpacked"; done
    # Unpacking drops the permission to run; nvcc looks in lib64, and -lNAME needs a name without a version.
    chmod +x "$folder"/unpacked/nvidia/cu13/bin/* "$folder"/unpacked/nvidia/cu13/nvvm/bin/* 2>/dev/null || true
    ln -sfn lib "$folder/unpacked/nvidia/cu13/lib64"
    for library in cublas.so.13 cublasLt.so.13 curand.so.10 nvrtc.so.13 cudart.so.13; do
        ln -sf "lib$library" "$folder/unpacked/nvidia/cu13/lib/lib${library%%.*}.so"
    done
    mv "$folder/unpacked/nvidia/cu13" "$toolkit"
fi

# libcuda belongs to the driver. To link, its names are enough; at run time the driver's own is found by the same soname.
cargo fetch --quiet --locked
bindings=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/cudarc-0.19.*/src/driver/sys/mod.rs | tail -1)
mkdir -p "$toolkit/lib/stubs"
grep -ohE '\bfn cu[A-Z][A-Za-z0-9_]*' "$bindings" | awk '{print $2}' | sort -u |
    sed 's/.*/int &(void){return 999;}/' >"$folder/libcuda.c" # 999: CUDA_ERROR_UNKNOWN
"${CC:-cc}" -shared -fPIC -O1 -Wl,-soname,libcuda.so.1 -o "$toolkit/lib/stubs/libcuda.so" "$folder/libcuda.c"

# candle-kernels also compiles kernels of quantised models, which nothing here calls: fast instead of good.
cat >"$folder/nvcc" <<END
#!/usr/bin/env bash
for argument in "\$@"; do
    case \$argument in
    *mmq_*.cu | *mmvq_*.cu | *moe_*.cu | */quantized.cu) exec "$toolkit/bin/nvcc" "\$@" -Ofc max ;;
    esac
done
exec "$toolkit/bin/nvcc" "\$@"
END
chmod +x "$folder/nvcc"

export CUDA_HOME=$toolkit CUDA_PATH=$toolkit PATH=$toolkit/bin:$PATH NVCC=$folder/nvcc
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDARC_CUDA_VERSION=13000 CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-2}
# The program finds the libraries of this folder, wherever it is started.
export RUSTFLAGS="${RUSTFLAGS:-} -L native=$toolkit/lib -L native=$toolkit/lib/stubs -C link-arg=-Wl,-rpath,$toolkit/lib"
exec cargo "$@"
