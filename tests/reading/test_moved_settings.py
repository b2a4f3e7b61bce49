"""Files that were written when augmentations were numbers of the pipeline."""

from flag3d_exp.reading.moved_settings import modern, modern_overrides, modern_pipeline, moved_to

OLD = {"_target_": "x.GraphPipeline", "part": [0.8, 1], "rotation": 0.2, "mirror": "${a.b}"}


def test_old_numbers_become_objects_and_tests_keep_their_part():
    found = modern({"pipeline": OLD, "seed": 1})
    assert found["pipeline"] == {"_target_": "x.GraphPipeline", "test_part": [0.8, 1]}
    plain = {
        step: {k: v for k, v in one.items() if k != "_target_"}
        for step, one in found["augment"].items()
    }
    assert plain == {
        "frames": {"part": [0.8, 1]},
        "affine": {"rotation": 0.2},
        "mirror": {"probability": "${a.b}"},
    }
    assert found["seed"] == 1


def test_what_has_moved_already_stays():
    config = {"pipeline": {"test_part": [1, 1]}, "augment": {}}
    assert modern(config) == config
    assert modern_pipeline({"clip_len": 3, "mirror": 0.5}) == {"clip_len": 3}


def test_a_network_from_before_temperatures_can_be_given_one():
    old = {"_target_": "flag3d_exp.problems.classify.Classify", "num_classes": 3}
    assert modern({"problem": old})["problem"] == old | {"temperature": 1.0}
    given = {"problem": old | {"temperature": 2.0}}
    assert modern(given) == given


def test_old_overrides_are_given_by_their_new_names():
    lines = ["pipeline.rotation=0.3", "seed=1", "+pipeline.part=[0.5,1]", "pipeline=heatmap"]
    assert modern_overrides(lines) == [
        "augment.affine.rotation=0.3",
        "seed=1",
        "+augment.frames.part=[0.5,1]",
        "+pipeline.test_part=[0.5,1]",
        "pipeline=heatmap",
    ]
    assert moved_to("pipeline.clip_len") is None
