"""Which joints belong to which part of the body, by the joints' names."""

from flag3d_exp.skeletons.layout import Layout

# A joint belongs to each part of which its name has a word.
WORDS = {
    "head": ("head", "face", "nose", "eye", "ear", "mouth", "neck"),
    "shoulders": ("shoulder", "shoulders", "clavicle", "collar", "neck"),
    "arms": (
        *("elbow", "wrist", "hand", "finger", "fingers", "forefinger"),
        *("thumb", "index", "pinky", "little", "ring"),
    ),
    "torso": ("spine", "chest", "thorax", "trunk", "pelvis", "root", "shoulder", "hip", "hips"),
    "hips": ("hip", "hips", "pelvis", "root"),
    "legs": ("knee", "ankle", "foot", "toe", "heel"),
}


def part_joints(layout: Layout) -> dict[str, list[int]]:
    """The numbers of the joints of each part; a part without a joint is left out."""
    names = [{word.rstrip("0123456789") for word in name.split()} for name in layout.joints]
    found = {
        part: [number for number, name in enumerate(names) if name & set(words)]
        for part, words in WORDS.items()
    }
    return {part: joints for part, joints in found.items() if joints}
