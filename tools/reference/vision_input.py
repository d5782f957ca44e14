"""Known answers of transformers' image and video processors: sizes, resized pictures, patches, frames, time stamps.

    python vision_input.py --out ../../tests/data/vision [--seed 20]

The README says what the files hold. Source pictures are formulas (`waves`, `noise`), so they need not be stored.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import Gemma4ImageProcessor, Gemma4Processor, Gemma4VideoProcessor
from transformers.models.gemma4.image_processing_gemma4 import get_aspect_ratio_preserving_size
from transformers.video_utils import VideoMetadata

transformers.logging.set_verbosity_error()
BUDGETS = (70, 140, 280, 560, 1120)

# (kind, width, height, budget, patch side). At patch 4 a budget of 70 is 96 x 96 pixels.
PICTURES = [
    ("noise", 1, 1, 70, 4), ("noise", 2, 3, 70, 4), ("noise", 100, 33, 70, 4), ("noise", 33, 120, 70, 4),
    ("noise", 96, 96, 70, 4), ("noise", 96, 97, 70, 4), ("noise", 7, 700, 70, 4), ("noise", 5000, 1, 140, 4),
    ("waves", 203, 149, 70, 4), ("waves", 640, 480, 70, 16), ("waves", 640, 480, 1120, 16), ("noise", 251, 333, 280, 16),
    ("noise", 1, 20000, 560, 16), ("waves", 4032, 3024, 280, 16), ("waves", 2532, 1170, 140, 16)]
# Of these, all resized pixels are stored, so that a failing test can be followed.
STORED = {"noise-2x3-70-4", "noise-100x33-70-4"}


def picture(kind, w, h):
    """[h, w, 3] bytes. Waves become finer towards the lower right, down to what no filter can keep."""
    y, x, c = (i.astype(np.uint32) for i in np.mgrid[0:h, 0:w, 0:3])
    if kind == "waves":
        return ((x * x * (c + 1) + y * y * 3 + x * y * (2 * c + 1)) >> 7 & 255).astype(np.uint8)
    mixed = (x * 2654435761 ^ y * 2246822519 ^ c * 3266489917).astype(np.uint32)
    mixed = ((mixed ^ mixed >> 15) * 2246822519).astype(np.uint32)
    return (mixed >> 24).astype(np.uint8)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def patches_of(rgb, budget, patch):
    """The patches that the default processors make of an image, and of the same picture as a frame of a video."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    image = Gemma4ImageProcessor(patch_size=patch, max_soft_tokens=budget)(planes, return_tensors="pt",
                                                                          input_data_format="channels_first")
    video = Gemma4VideoProcessor(patch_size=patch, max_soft_tokens=budget, num_frames=1)(
        [planes[None]], return_tensors="pt", video_metadata=[VideoMetadata(total_num_frames=1, fps=1)])
    positions = image["image_position_ids"][0].numpy()
    real = positions[:, 0] >= 0
    assert (video["video_position_ids"][0].numpy() == positions).all()
    columns, rows = (int(i) for i in positions[real].max(0) + 1)
    return image["pixel_values"][0].numpy()[real], video["pixel_values_videos"][0].numpy()[real], columns, rows


def write_pictures(out):
    rows, tensors = [], {}
    for kind, w, h, budget, patch in PICTURES:
        name = f"{kind}-{w}x{h}-{budget}-{patch}"
        image, frame, columns, lines = patches_of(picture(kind, w, h), budget, patch)
        values = np.rint(image.astype(np.float64) * 255).astype(np.uint8)
        resized = values.reshape(lines, columns, patch, patch, 3).transpose(0, 2, 1, 3, 4).reshape(
            lines * patch, columns * patch, 3)
        rows.append({"name": name, "kind": kind, "size": [w, h], "budget": budget, "patch": patch,
                     "resized": [columns * patch, lines * patch], "resized_sha256": sha(resized),
                     "image_patches_sha256": sha(image), "frame_patches_sha256": sha(frame)})
        if name in STORED:
            tensors[name] = resized
        print(name, rows[-1]["resized"])
    write_rows(out / "pictures.json", rows)
    save_file(tensors, out / "resized.safetensors")
    (out / "resized.safetensors").chmod(0o644)


def write_sizes(out, rng):
    rows = []
    for i in range(100):
        if i % 3 == 0:  # products of small numbers, where rounding decides
            w, h = (int(k) * int(rng.choice([4, 8, 12, 20, 44])) for k in rng.integers(2, 60, 2))
        elif i % 3 == 1:  # strips
            w, h = int(rng.integers(1, 20)), int(np.exp(rng.uniform(6, 11)))
            w, h = (w, h) if rng.random() < 0.5 else (h, w)
        else:
            w, h = (int(np.exp(rng.uniform(1, 9))) for _ in range(2))
        budget = BUDGETS[i % 5]
        height, width = get_aspect_ratio_preserving_size(h, w, 16, budget * 9, 3)
        rows.append([w, h, budget, width, height])
    write_rows(out / "sizes.json", rows)


def video_times(total, fps, frames, per_second):
    """Frames and stamps as the processor makes them; None where it refuses."""
    processor = Gemma4VideoProcessor(num_frames=frames)
    meta = VideoMetadata(total_num_frames=total, fps=fps)
    try:
        meta.frames_indices = processor.sample_frames(meta, num_frames=None, fps=per_second)
    except ValueError:
        return None
    tokens = argparse.Namespace(boi_token="<", eoi_token=">", video_token="v")
    text = Gemma4Processor.replace_video_token(
        tokens, {"num_soft_tokens_per_video": [1], "video_metadata": [meta]}, 0)
    return [int(i) for i in meta.frames_indices], text


def write_times(out, rng):
    rows = []
    rates = [None, 24.0, 25.0, 30000 / 1001, 24000 / 1001, 60.0, 12.5, 1.0, 0.1, 119.88]
    while len(rows) < 40:
        total, fps = int(np.exp(rng.uniform(0, 11))), rates[int(rng.integers(len(rates)))]
        per_second = float(rng.choice([0.25, 1.0, 2.0])) if fps and rng.random() < 0.4 else None
        frames = None if per_second else int(rng.choice([1, 4, 7, 32, 60]))
        answer = video_times(total, fps, frames, per_second)
        if answer is not None and len(answer[0]) <= 60:
            rows.append({"total": total, "fps": fps, "frames": frames, "frames_per_second": per_second,
                         "indices": answer[0], "text": answer[1]})
    write_rows(out / "video-times.json", rows)


def write_rows(path, rows):
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    write_pictures(args.out)
    write_sizes(args.out, rng)
    write_times(args.out, rng)


if __name__ == "__main__":
    main()
