"""Tiny folders in the formats of MovieLens's other releases, for tests."""

from __future__ import annotations

from pathlib import Path

ML_1M = {
    "ratings.dat": b"1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
    "users.dat": b"1::F::1::10::48067\n2::M::56::16::98107-2117\n",
    "movies.dat": (
        "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
        "1193::Misérables, Les (1975)::Drama\n"
    ).encode("latin-1"),
}
ML_10M = {
    "ratings.dat": b"1::122::5::838985046\n1::185::0.5::838983525\n71567::122::3.5::912580553\n",
    "movies.dat": (
        "122::Boomerang (1992)::Comedy|Romance\n185::Señor, El::(no genres listed)\n"
    ).encode(),
    "tags.dat": b"15::122::excellent!::1215184630\n",
}
ML_CSV = {
    "ratings.csv": (
        b"userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,3,0.5,964981247\r\n"
        b"2,1,4.5,1445714835\r\n"
    ),
    "movies.csv": (
        "movieId,title,genres\r\n"
        '1,"American President, The (1995)",Comedy|Drama|Romance\r\n'
        '3,"""Great Performances"" Cats (1998)",Musical\r\n'
        "4,Babylon 5,(no genres listed)\r\n"
        "5,Amélie (2001),Comedy\r\n"
    ).encode(),
    "links.csv": b"movieId,imdbId,tmdbId\r\n1,0112346,9087\r\n3,0173714,\r\n4,1355642,15.0\r\n",
    "tags.csv": b"userId,movieId,tag,timestamp\r\n2,3,funny,1445714994\r\n",
    "genome-tags.csv": b"tagId,tag\r\n1,007\r\n",
}


def write(folder: Path, content: dict[str, bytes], **changes: bytes | None) -> Path:
    """Writes files into a folder; `changes` replaces or, by None, leaves out, `.` as `_`."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = {name.replace("_", "."): data for name, data in changes.items()}
    for name, data in {**content, **changed}.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return folder
