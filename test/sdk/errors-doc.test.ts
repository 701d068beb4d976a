import { expect, test } from 'vitest';
import { errorStatuses, type NearfarErrorCode } from '../../src/core/index.ts';

const grpcNames: Readonly<Record<number, string>> = {
  1: 'CANCELLED',
  3: 'INVALID_ARGUMENT',
  4: 'DEADLINE_EXCEEDED',
  5: 'NOT_FOUND',
  6: 'ALREADY_EXISTS',
  7: 'PERMISSION_DENIED',
  8: 'RESOURCE_EXHAUSTED',
  9: 'FAILED_PRECONDITION',
  12: 'UNIMPLEMENTED',
  13: 'INTERNAL',
  14: 'UNAVAILABLE',
  15: 'DATA_LOSS',
  16: 'UNAUTHENTICATED',
};

/** What happened, and what to do. A code cannot exist without its line. */
const meanings: Record<NearfarErrorCode, string> = {
  'invalid-argument': 'An option, an input name, a photo or a document is not what it must be. The message names it. Correct the call.',
  'dtype-mismatch': 'An input has another dtype than the signature declares. `details: { name, want, got }`.',
  'shape-mismatch':
    'An input has a shape that does not fit the signature, or its data another length than its shape. `details: { name, want, got }`.',
  'not-found': 'No such model, version, label or file. `details` lists what there is.',
  'already-exists': 'A published version is never overwritten. Publish under the next number.',
  'version-mismatch':
    'The lock, the label, the repository and the server do not agree on the version or its digest. The answer, if any, was dropped.',
  'integrity-mismatch': 'Bytes do not have the digest the manifest names, also after they were fetched again. Nothing of them was used.',
  'signature-invalid': 'A manifest is not signed by a key that is trusted.',
  unsupported: 'This build, device or engine cannot do it: a later schema version, an operator, an option that is not there yet.',
  'self-test-failed': 'The device does not reproduce the golden examples of the model. The next backend, or the server, is taken.',
  'device-unfit': 'No backend that may be used runs on this device. The message lists each with its reason.',
  'device-lost':
    'The GPU went away under the model, or its worker crashed or hung. It is opened again by itself; the call goes on elsewhere or once more.',
  'device-crashed':
    'The page or its worker died while this version was loaded on this backend. It is left alone for an hour, after more crashes for a day or a week; the server answers.',
  'out-of-memory': 'The device has no memory left for the model or the call.',
  'quota-exceeded': 'The browser will not store the model. `details: { neededBytes, availableBytes }`.',
  'download-deferred':
    'The user saves data, the connection is metered or slow, or the battery is low: the server answers and the model is not downloaded. `downloadOn` overrides it.',
  network: 'A server or repository could not be reached, or the connection broke.',
  unavailable: 'Not now: the model is not open or not ready, a worker hung or crashed, a server is draining. Try again later.',
  overloaded: 'The server has too many requests in its queue. Try again later.',
  'rate-limited': 'This client has used up its share. Try again later.',
  'deadline-exceeded': 'No leg answered within `deadlineMs`, or the server not within its limit.',
  cancelled: 'The call was cancelled on the other side. In an application an abort rejects with `signal.reason` instead.',
  unauthenticated: 'The server wants credentials.',
  'permission-denied': 'Not allowed: an administrative call, or the pixels of an image of another origin without CORS.',
  'failed-precondition': 'The model or the client is closed, or the server is not in the state that the call needs.',
  internal: 'A fault of nearfar or of an engine. `cause` and the message say more; please report it.',
};

test('docs/errors.md lists every code with its statuses', async () => {
  const rows = Object.entries(errorStatuses).map(([code, { http, grpc }]) => {
    return `| \`${code}\` | ${http} | ${grpc} ${grpcNames[grpc]} | ${meanings[code as NearfarErrorCode]} |`;
  });

  const page = [
    '# Errors',
    '',
    '<!-- Written by test/sdk/errors-doc.test.ts from the table in src/core/errors.ts: npx vitest run --project node test/sdk/errors-doc -u -->',
    '',
    'Everything nearfar throws is a `NearfarError` with a `code` of this list, a `message` for people, plain `details`, and the `cause`',
    'where there is one. Branch on the code: codes are added by need and never renamed; texts may change. Code, message and details are',
    'the same when an error crossed a worker or the wire. An abort is the one exception: it rejects with `signal.reason`, unchanged.',
    '',
    '```ts',
    "import { NearfarError } from 'nearfar';",
    '',
    'try {',
    '  await model.classify(photo, { deadlineMs: 500 });',
    '} catch (error) {',
    "  if (error instanceof NearfarError && error.code === 'deadline-exceeded') console.warn('no answer in time, try again');",
    '  else throw error;',
    '}',
    '```',
    '',
    '| Code | HTTP | gRPC | What it means |',
    '|---|---|---|---|',
    ...rows,
    '',
    'When both legs failed, the error has the code of the last one, and `details.attempts` lists each leg with its code and message.',
    '',
  ].join('\n');

  expect(rows).toHaveLength(Object.keys(meanings).length);
  await expect(page).toMatchFileSnapshot('../../docs/errors.md');
});
