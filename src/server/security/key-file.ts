import { hash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';
import { withFileLock } from '../../publish/index.ts';
import { type Role, roles } from './access.ts';

/** An API key as it is kept: nobody can make the key of it. */
export interface StoredKey {
  /** As the history and the limits know it. */
  readonly name: string;
  /** Part of the key that is no secret, by which it is found. */
  readonly id: string;
  /** SHA-256 of the key in hex: keys have 256 random bits, so that no slower hash is needed. */
  readonly sha256: string;
  readonly roles: readonly Role[];
  /** The only models it may ask for; all where there are none. */
  readonly models?: readonly string[] | undefined;
  /** Predictions a second. */
  readonly rateLimit?: number | undefined;
  /** Predictions a day, in UTC. */
  readonly dailyQuota?: number | undefined;
  readonly createdAt: string;
  readonly expiresAt?: string | undefined;
}

const dateSchema = v.pipe(v.string(), v.isoTimestamp());

const fileSchema = v.object({
  schemaVersion: v.literal(1),
  keys: v.array(
    v.object({
      name: v.pipe(v.string(), v.regex(/^[\w.@-]{1,64}$/, 'expected 1 to 64 letters, digits and . _ @ -')),
      id: v.pipe(v.string(), v.regex(/^[\da-f]{12}$/)),
      sha256: v.pipe(v.string(), v.regex(/^[\da-f]{64}$/)),
      roles: v.pipe(v.array(v.picklist(roles)), v.minLength(1)),
      models: v.optional(v.array(v.string())),
      rateLimit: v.optional(v.pipe(v.number(), v.gtValue(0))),
      dailyQuota: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
      createdAt: dateSchema,
      expiresAt: v.optional(dateSchema),
    }),
  ),
});

const keyPattern = /^nfk_([\da-f]{12})_[\w-]{43}$/;

/** The part of a key by which it is found; undefined where a text is no key. */
export function keyIdOf(key: string): string | undefined {
  return keyPattern.exec(key)?.[1];
}

export function hashKey(key: string): string {
  return hash('sha256', key, 'hex');
}

/** A new key, which is told once, and what is kept of it. */
export function createApiKey(about: Pick<StoredKey, 'name' | 'roles' | 'models' | 'rateLimit' | 'dailyQuota' | 'expiresAt'>): {
  readonly key: string;
  readonly stored: StoredKey;
} {
  const id = randomBytes(6).toString('hex');
  const key = `nfk_${id}_${randomBytes(32).toString('base64url')}`;
  return { key, stored: { ...about, id, sha256: hashKey(key), createdAt: new Date().toISOString() } };
}

/**
 * The keys of a file.
 * @throws {NearfarError} `not-found` when it cannot be read; `invalid-argument`.
 */
export function readApiKeys(file: string): readonly StoredKey[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read the API keys of ${file}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  return parseKeys(text, file);
}

function parseKeys(text: string, file: string): readonly StoredKey[] {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), fileSchema), text);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    // Without what came: it may be a key.
    throw new NearfarError(
      'invalid-argument',
      `${file} holds no API keys: ${v.getDotPath(issue) ?? 'it'} must be ${issue.expected ?? issue.type}`,
      {
        details: { path: file },
      },
    );
  }
  const { keys } = parsed.output;
  const names = new Set(keys.map(({ name }) => name));
  if (names.size < keys.length) throw new NearfarError('invalid-argument', `${file}: two keys have one name`, { details: { path: file } });
  return keys;
}

/** How long a change waits for another one, in milliseconds. */
const lockTimeoutMs = 10_000;

/**
 * Changes a file of keys, or begins one, in turn with others: a key that is taken back does not come again with another one's list.
 * @throws {NearfarError} as {@link readApiKeys} and {@link writeApiKeys}; `unavailable` when another change does not end; what `change` throws.
 */
export async function changeApiKeys(file: string, change: (keys: readonly StoredKey[]) => readonly StoredKey[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await withFileLock(`${file}.lock`, { owner: `change of ${file}`, timeoutMs: lockTimeoutMs }, () =>
    writeApiKeys(file, change(existsSync(file) ? readApiKeys(file) : [])),
  );
}

/**
 * Replaces a file of keys at once, readable for its owner alone.
 * @throws {NearfarError} `invalid-argument` for keys that no server would take.
 */
export async function writeApiKeys(file: string, keys: readonly StoredKey[]): Promise<void> {
  const text = `${JSON.stringify({ schemaVersion: 1, keys }, null, 2)}\n`;
  parseKeys(text, file);
  await mkdir(dirname(file), { recursive: true });
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
