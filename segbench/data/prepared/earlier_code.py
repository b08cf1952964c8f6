"""Digests of the decoding code of earlier prepared splits, see ``code_digest``.

Remove an entry of ``CODE`` when what its file does changes. Names are paths below ``segbench/data``.
"""

# Digests of code that still does what it did when whole files were digested.
CODE = {
    "images.py": "cf1c64025bc02c0b31cd2c40ec562e96d33a3d3af59b6c1ab9851f1c84afe4b8",
    "layouts.py": "803592f6d9f3957ce5d937a22e203584ab0176a642a48cd303505bbaa090c5aa",
    "own_data/discover.py": "d15685c6c90c7101864974eae785c356b8c402b84bc01df6d5a2dd66242274bd",
    "prepared/decode.py": "ed66e854f69768732e8fe3574d6b874f53ec76f144899804aa30e1da2d789788",
    "resample.py": "f4b232c085dd9559d33d15a662f066cd5e16d310d2b4d505558f2eaf0fd5e515",
    "sets/ade20k/reader.py": "7c8e269d9126af69ea87508844d2f3dd77d7832ffda42c8d613485b083b79013",
    "sets/camvid/reader.py": "ad59c30865f1016d6bb2c84cd07b99c30171695a61a596fb139953268be76374",
    "sets/cityscapes/cities.yaml": "884d2bec210036ac6931f5df61fce620e8efc367c377ddff7d9267c67453dd17",
    "sets/cityscapes/labels.py": "0ea541eb4dc03bff224be0e105d8e3639aa8e18a07888aab0bf3e07dc8b66f68",
    "sets/cityscapes/labels.yaml": "3acd90c295460179aa1ce976512cb2ebcd1c12c2c723d947239e3393fb3ded73",
    "sets/cityscapes/reader.py": "d52cecf14b48c0d507aca9f3c9000b250417ad812ac2350c422f28ec8267059c",
    "sets/coco_stuff_10k/encodings.py": "545e42a9e7820a2b5e02f2831799d6eb482e1f242199eb0d1b5150fad3566af7",
    "sets/coco_stuff_10k/reader.py": "fef0660e01e0819b8890a4eeb732e680eb84699c6bed8198c5d83cf1b5da5304",
    "sets/gta5/left_out.py": "c0be9d34b7b928f48e96ad053a2a51953c2a018a47f82b7b3acda5bb077e4e1f",
    "sets/gta5/reader.py": "26098f8d1fe849226d91c8842a35439e7757dba53d2c5b4ec495530f808b0120",
    "sets/pascal_context/detail.py": "5d3e065cc96107b48c8d6f06c643fc2b83da1a95fc1a63ddb39eac28029530ab",
    "sets/pascal_context/ids.py": "2a8cd3cd935a1d8b5fc29dc4318fa22c361fef541f47dea96669c83e58e56f03",
    "sets/pascal_context/ids.yaml": "2120cf1fe352dc4a84481d48ce2faf5cd32c28b31b06a42f0e2db289b61feb56",
    "sets/pascal_context/masks.py": "117b3dba7f43310d4bb25a5f6bb868b797619ec0c54abf65514f504e8f4da33f",
    "sets/pascal_context/reader.py": "65ca389ee92ca9da8b508e279047ce82b3ab37bc2d79479b06b8ff2379645089",
    "sets/pascal_context/unpack.py": "a7b6cc13c79fc4cb4ab2a99155d9fc0cc276a73be2d58673234401b21e8c648b",
    "sets/voc2012/reader.py": "3888a42d72c164ebf9dad306cebfa45a6f20467a20a64bd50809abffe5c1265b",
    "truncation.py": "2cae7416efa6f5ccf3cf987c72720bf7e531bbd5b68c9c268a7654571c192c71",
}
# SHA-256 of those of the whole files of then that were digested.
FILES = {
    "images.py": "287af611ed6833a92bb9e49e70decbfcc434807f0188a73e414482bd090bda33",
    "own_data/discover.py": "72b1038f8b21b263443fddc7b002798ca0b21116f43621773afc2afdf9b65939",
    "prepared/decode.py": "517c29fd47bc250dce83be6cd35947ae13e949dca04c2f85c3113e159171ed85",
    "sets/ade20k/reader.py": "34765efbe19b80e71aa8ff27583d7333ea4b1c66c24a523901ffb3f4f6b59e6b",
    "sets/camvid/reader.py": "cf85c81c7b97bd4d411a416641528b0659cdf8a9c06d4edee2ede5aa5b56d73d",
    "sets/cityscapes/reader.py": "67c0dbdf08cf68b08e09e96552d127097681fc017c7559269ea7b1c07021527c",
    "sets/coco_stuff_10k/reader.py": "73d417d98a3747ce6e5494c47d47f29156b109c96b76ff3657020faadc7c5634",
    "sets/gta5/reader.py": "402a944488de04851f5de3088869911ae6b8f97bcaa210b23a5146255106509b",
    "sets/pascal_context/reader.py": "679e8bee179028d020ce8296c6885be78627fb9e1a3f24e520116b15902f93b0",
    "sets/voc2012/reader.py": "7adf42bb993ab8fd1a14ffc8afe2e609de2c7ddb93c113eb01af0d7b946983e6",
}
