// Writes an archive of the "newc" form, which the kernel takes as its first file system.

interface Named {
  /** Without a leading slash; folders come before what is in them. */
  readonly path: string;
  readonly permissions: number;
}

export type CpioEntry =
  | (Named & { readonly kind: 'folder' })
  | (Named & { readonly kind: 'file'; readonly bytes: Uint8Array })
  | (Named & {
      readonly kind: 'character-device';
      readonly major: number;
      readonly minor: number;
    });

const typeBits = { folder: 0o040000, file: 0o100000, 'character-device': 0o020000 } as const;
const magic = '070701';
const alignBytes = 4;

function padded(bytes: Buffer): Buffer {
  const lacking = (alignBytes - (bytes.length % alignBytes)) % alignBytes;
  return Buffer.concat([bytes, Buffer.alloc(lacking)]);
}

/** The fields of a header, in the order of the format; owner and times are zero. */
function member(path: string, fields: Readonly<Record<string, number>>, bytes: Uint8Array): Buffer {
  const name = Buffer.from(`${path}\0`);
  const order = ['ino', 'mode', 'uid', 'gid', 'nlink', 'mtime', 'filesize', 'devmajor', 'devminor'];
  const values = [...order, 'rdevmajor', 'rdevminor', 'namesize', 'check'].map((field) => {
    const all: Readonly<Record<string, number>> = {
      ...fields,
      filesize: bytes.length,
      namesize: name.length,
    };
    return (all[field] ?? 0).toString(16).padStart(8, '0');
  });
  const header = Buffer.from(magic + values.join(''));
  return Buffer.concat([padded(Buffer.concat([header, name])), padded(Buffer.from(bytes))]);
}

/** An archive of these entries: the same entries give the same bytes. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const members = entries.map((entry, index) => {
    const device = entry.kind === 'character-device' ? entry : { major: 0, minor: 0 };
    const fields = {
      ino: index + 1,
      mode: typeBits[entry.kind] | entry.permissions,
      nlink: entry.kind === 'folder' ? 2 : 1,
      rdevmajor: device.major,
      rdevminor: device.minor,
    };
    return member(entry.path, fields, entry.kind === 'file' ? entry.bytes : new Uint8Array(0));
  });
  return Buffer.concat([...members, member('TRAILER!!!', { nlink: 1 }, new Uint8Array(0))]);
}
