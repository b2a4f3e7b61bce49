import io
import struct
import zipfile

import numpy as np
import pytest

from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays

HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """An array file with a header of our own."""
    size = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + b"\n" + data


def archive(tmp_path, **members: bytes):
    path = tmp_path / "file.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in members.items():
            written.writestr(f"{name}.npy", content)
    return path


def test_arrays_are_read_as_numpy_wrote_them(tmp_path):
    made = {
        "numbers": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        "text": np.array("meta"),
        "names": np.array(["a", "深蹲"]),
        "nothing": np.zeros((0, 3)),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "file.npz", **made)
        found = npz_arrays(tmp_path / "file.npz")
        assert found.keys() == made.keys()
        for name, array in made.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    assert npz_arrays(tmp_path / "file.npz", ("text", "absent")).keys() == {"text"}


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (npy(HEADER % ("'<f4'", (1 << 40,)), bytes(8)), "not as long as its shape"),
        (npy(HEADER % ("'<f4'", (1 << 62, 1 << 62)), bytes(8)), "not as long as its shape"),
        (npy(HEADER % ("'<f4'", (-1, -2)), bytes(8)), "not as long|not an array"),
        (npy(HEADER % ("'<f4'", (1,) * 40), bytes(4)), "not as long|not an array"),
        (npy(HEADER % ("'<f4'", (2,)), bytes(12)), "not as long as its shape"),
        (npy(HEADER % ("'<U0'", (1 << 40,))), "not of numbers or text"),
        (npy(HEADER % ("'|O'", (1,)), b"N."), "is an array of object"),
        (npy(HEADER % ("[('a', '<f4')]", (1,)), bytes(4)), "not of numbers or text"),
        (npy("[" * 5000), "not an array"),
        (npy("{'descr': '<f4"), "not an array"),
        (npy("__import__('os').system('ls')"), "not an array"),
        (npy("()"), "not an array"),
        (npy(HEADER % ("'<f4'", (1,)), bytes(4), version=2)[:9] + b"\xff" * 3, "a header of"),
        (npy("x", version=3), "not an array of numbers"),
        (b"", "not an array"),
        (b"text", "not an array"),
        (bytes(10**6), "not an array"),
    ],
)
def test_a_member_that_is_no_array_of_numbers_is_refused(tmp_path, member, reason):
    with pytest.raises(Malformed, match=f"its member `bad` .*({reason})"):
        npz_arrays(archive(tmp_path, good=npy(HEADER % ("'<f4'", (2,)), bytes(8)), bad=member))


def test_an_archive_that_inflates_a_thousandfold_is_refused(tmp_path):
    with pytest.raises(Malformed, match="it would expand to 0.2 GB"):
        npz_arrays(archive(tmp_path, zeros=npy(HEADER % ("'<f4'", (1,)), bytes(200_000_000))))


def test_members_that_are_the_same_bytes_count_each(tmp_path):
    path = archive(tmp_path, zeros=npy(HEADER % ("'<f4'", (10**6,)), bytes(4 * 10**6)))
    content = path.read_bytes()
    begin = content.index(b"PK\x01\x02")
    entry, end = content[begin : content.index(b"PK\x05\x06")], content.index(b"PK\x05\x06")
    entries = [entry.replace(b"zeros", f"ze{number:03}".encode()) for number in range(40)]
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 40, 40, 40 * len(entry), begin, 0)
    path.write_bytes(content[:begin] + b"".join(entries) + tail)
    assert end < path.stat().st_size
    with pytest.raises(Malformed, match="it would expand to 0.2 GB"):
        npz_arrays(path)


def test_a_list_of_members_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "file.npz"
    with open(path, "wb") as file:
        file.truncate(1 << 30)  # takes no room on the disk
        file.seek(1 << 30)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 1 << 30, 0, 0))
    with pytest.raises(Malformed, match="its list of members is too long"):
        npz_arrays(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6" + bytes(18), bytes(1000)])
def test_what_is_no_archive_of_arrays_is_refused_or_empty(tmp_path, content):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    try:
        assert npz_arrays(path) == {}
    except Malformed as error:
        assert "zip file" in str(error)


def test_other_members_and_encrypted_ones_are_refused(tmp_path):
    path = tmp_path / "file.npz"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("readme.txt", "hello")
    with pytest.raises(Malformed, match="its member `readme.txt` is not an array"):
        npz_arrays(path)
    content = bytearray(
        archive(tmp_path, secret=npy(HEADER % ("'<f4'", (1,)), bytes(4))).read_bytes()
    )
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(Malformed, match="its member `secret` is encrypted"):
        npz_arrays(path)
    with pytest.raises(FileNotFoundError):
        npz_arrays(tmp_path / "absent.npz")


def test_a_changed_byte_is_noticed(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(100.0))
    content = bytearray(buffer.getvalue())
    content[400] ^= 1
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(Malformed, match="CRC"):
        npz_arrays(tmp_path / "file.npz")
