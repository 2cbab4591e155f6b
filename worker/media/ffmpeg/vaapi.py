"""Pictures on their way to a VAAPI encoder, for trials and for jobs alike: its device, and the upload into its memory.

QSV and NVENC need neither: their encoders take frames from the processor's memory (seen in ffmpeg 5.1's
`-h encoder=h264_qsv` and `h264_nvenc`, whose pixel formats begin with nv12 and yuv420p; h264_vaapi's is vaapi alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.media.ffmpeg.filters import filter_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

USUAL_NODE: Final = "/dev/dri/renderD128"
"""The device of the first card that can encode, on Linux."""
_TEN_BITS: Final = frozenset({"p010", "p010le", "yuv420p10", "yuv420p10le"})


def takes_uploads(encoder: object) -> bool:
    """Return whether `encoder` is one that takes frames of a VAAPI device's memory only."""
    return isinstance(encoder, str) and encoder.endswith("_vaapi")


def device(encoders: Iterable[object], node: str) -> tuple[str, ...]:
    """Return ffmpeg's options that open the render node `node`, before the inputs, where one of `encoders` needs it."""
    return ("-vaapi_device", node) if any(map(takes_uploads, encoders)) else ()


def upload(*, ten_bits: bool = False, decoded_there: bool = False) -> str:
    """Return the filters that bring frames into the device's memory, where those `decoded_there` are already."""
    return f"format={'p010' if ten_bits else 'nv12'}{'|vaapi' if decoded_there else ''},hwupload"


def with_upload(options: Mapping[str, Any], *, decoded_there: bool = False) -> dict[str, Any]:
    """Return an output stream's options such that its frames reach the VAAPI encoder that they name.

    The upload follows the job's own filters, unless they upload, or work in the device's memory to their end.
    `pix_fmt` becomes the format that is uploaded, for the encoder itself has `vaapi` alone.
    """
    kept = {key: value for key, value in options.items() if key != "pix_fmt"}
    key = next((key for key in reversed(kept) if key in {"vf", "filter"}), "filter")
    chain = str(kept.pop(key, ""))
    names = filter_names(chain) if chain else ()
    if "hwupload" not in names and not (names and takes_uploads(names[-1])):
        ten_bits = options.get("pix_fmt") in _TEN_BITS or options.get("profile") == "main10"
        chain = ",".join(filter(None, (chain, upload(ten_bits=ten_bits, decoded_there=decoded_there))))
    return kept | {key: chain}
