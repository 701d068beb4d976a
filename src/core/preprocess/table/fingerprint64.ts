// FarmHash's Fingerprint64 (farmhashna::Hash64 of google/farmhash), the hash of tf.strings.to_hash_bucket_fast: fixed for ever, on every
// machine. In BigInt: values of a table are short, and few of them are hashed per call.

const k0 = 0xc3a5c85c97cb3127n;
const k1 = 0xb492b66fbe98f273n;
const k2 = 0x9ae16a3b2f90404fn;

function u64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function rotate(value: bigint, bits: bigint): bigint {
  return u64((value >> bits) | (value << (64n - bits)));
}

function shiftMix(value: bigint): bigint {
  return value ^ (value >> 47n);
}

function hash16(u: bigint, v: bigint, multiplier: bigint): bigint {
  const a = shiftMix(u64((u ^ v) * multiplier));
  return u64(shiftMix(u64((v ^ a) * multiplier)) * multiplier);
}

/** The fingerprint of some bytes, as an unsigned 64-bit integer. */
export function fingerprint64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { length } = bytes;
  if (length <= 16) return hashUpTo16(view);
  const multiplier = k2 + BigInt(length) * 2n;
  if (length <= 32) {
    const a = u64(read64(view, 0) * k1);
    const b = read64(view, 8);
    const c = u64(read64(view, length - 8) * multiplier);
    const d = u64(read64(view, length - 16) * k2);
    return hash16(u64(rotate(u64(a + b), 43n) + rotate(c, 30n) + d), u64(a + rotate(u64(b + k2), 18n) + c), multiplier);
  }
  return length <= 64 ? hashUpTo64(view, multiplier) : hashLong(view);
}

function hashUpTo16(view: DataView): bigint {
  const length = view.byteLength;
  const size = BigInt(length);
  if (length >= 8) {
    const multiplier = k2 + size * 2n;
    const a = u64(read64(view, 0) + k2);
    const b = read64(view, length - 8);
    const c = u64(rotate(b, 37n) * multiplier + a);
    return hash16(c, u64((rotate(a, 25n) + b) * multiplier), multiplier);
  }
  if (length >= 4) {
    return hash16(size + (BigInt(view.getUint32(0, true)) << 3n), BigInt(view.getUint32(length - 4, true)), k2 + size * 2n);
  }
  if (length === 0) return k2;
  const y = BigInt(view.getUint8(0) + view.getUint8(length >> 1) * 256);
  const z = BigInt(length + view.getUint8(length - 1) * 4);
  return u64(shiftMix(u64(y * k2) ^ u64(z * k0)) * k2);
}

function hashUpTo64(view: DataView, multiplier: bigint): bigint {
  const length = view.byteLength;
  const a = u64(read64(view, 0) * k2);
  const b = read64(view, 8);
  const c = u64(read64(view, length - 8) * multiplier);
  const d = u64(read64(view, length - 16) * k2);
  const y = u64(rotate(u64(a + b), 43n) + rotate(c, 30n) + d);
  const z = hash16(y, u64(a + rotate(u64(b + k2), 18n) + c), multiplier);
  const e = u64(read64(view, 16) * multiplier);
  const f = read64(view, 24);
  const g = u64((y + read64(view, length - 32)) * multiplier);
  const h = u64((z + read64(view, length - 24)) * multiplier);
  return hash16(u64(rotate(u64(e + f), 43n) + rotate(g, 30n) + h), u64(e + rotate(u64(f + a), 18n) + g), multiplier);
}

type Pair = readonly [bigint, bigint];

function hashLong(view: DataView): bigint {
  const length = view.byteLength;
  const seed = 81n;
  let x = seed;
  let y = u64(seed * k1 + 113n);
  let z = u64(shiftMix(u64(y * k2 + 113n)) * k2);
  let v: Pair = [0n, 0n];
  let w: Pair = [0n, 0n];
  x = u64(x * k2 + read64(view, 0));
  const end = Math.floor((length - 1) / 64) * 64;
  for (let at = 0; at < end; at += 64) {
    x = u64(rotate(u64(x + y + v[0] + read64(view, at + 8)), 37n) * k1);
    y = u64(rotate(u64(y + v[1] + read64(view, at + 48)), 42n) * k1);
    x ^= w[1];
    y = u64(y + v[0] + read64(view, at + 40));
    z = u64(rotate(u64(z + w[0]), 33n) * k1);
    v = weakHash32(view, at, u64(v[1] * k1), u64(x + w[0]));
    w = weakHash32(view, at + 32, u64(z + w[1]), u64(y + read64(view, at + 16)));
    [z, x] = [x, z];
  }
  const multiplier = u64(k1 + ((z & 0xffn) << 1n));
  const last = length - 64;
  w = [u64(w[0] + BigInt((length - 1) & 63)), w[1]];
  v = [u64(v[0] + w[0]), v[1]];
  w = [u64(w[0] + v[0]), w[1]];
  x = u64(rotate(u64(x + y + v[0] + read64(view, last + 8)), 37n) * multiplier);
  y = u64(rotate(u64(y + v[1] + read64(view, last + 48)), 42n) * multiplier);
  x ^= u64(w[1] * 9n);
  y = u64(y + v[0] * 9n + read64(view, last + 40));
  z = u64(rotate(u64(z + w[0]), 33n) * multiplier);
  v = weakHash32(view, last, u64(v[1] * multiplier), u64(x + w[0]));
  w = weakHash32(view, last + 32, u64(z + w[1]), u64(y + read64(view, last + 16)));
  [z, x] = [x, z];
  return hash16(u64(hash16(v[0], w[0], multiplier) + shiftMix(y) * k0 + z), u64(hash16(v[1], w[1], multiplier) + x), multiplier);
}

function weakHash32(view: DataView, at: number, first: bigint, second: bigint): Pair {
  const [w, x, y, z] = [0, 8, 16, 24].map((offset) => read64(view, at + offset)) as [bigint, bigint, bigint, bigint];
  let a = u64(first + w);
  const b = rotate(u64(second + a + z), 21n);
  const c = a;
  a = u64(a + x + y);
  return [u64(a + z), u64(b + rotate(a, 44n) + c)];
}

function read64(view: DataView, at: number): bigint {
  return view.getBigUint64(at, true);
}
