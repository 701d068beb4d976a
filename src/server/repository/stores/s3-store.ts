import { NearfarError } from '../../../core/index.ts';
import { type BucketEnvironment, connectS3, listingQuery, parseListing } from '../../../publish/index.ts';
import { freshness, type SendRequest, startOf, toStoreError } from './http-request.ts';
import { joinPath, type RepositoryStore, readAll, type StoreEntry } from './store.ts';

/** A page has a thousand keys at most. */
const longestPageBytes = 16 * 2 ** 20;

/** A repository in a bucket that speaks S3: `s3://bucket/prefix`, or `gs://bucket/prefix` of Google Cloud Storage. */
export function openS3Store(
  location: string,
  { send, environment }: { readonly send: SendRequest; readonly environment: BucketEnvironment },
): RepositoryStore {
  const place = connectS3(location, environment);
  const request = async (url: string, headers: Readonly<Record<string, string>>, signal: AbortSignal | undefined) =>
    send(url, await place.sign(url, { headers: new Headers(headers) }), signal);

  return {
    location: place.location,
    async read(path, { ifNoneMatch, start = 0, ifRange, signal } = {}) {
      const url = place.urlOf(joinPath(place.prefix, path));
      const response = await request(
        url,
        {
          ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch }),
          ...(start > 0 && { range: `bytes=${start}-` }),
          // S3 knows no If-Range: a range of another object is refused as a whole.
          ...(start > 0 && ifRange !== undefined && { 'if-match': ifRange }),
        },
        signal,
      );
      const { status, headers, body } = response;
      const freshForMs = freshness(headers);
      if (status === 200 || status === 206) {
        return { kind: 'content', etag: headers.get('etag') ?? undefined, start: startOf(status, headers), body, freshForMs };
      }
      if (status === 304) {
        await response.discard();
        return { kind: 'unchanged', freshForMs };
      }
      const error = await toStoreError(url, response);
      if (status === 412)
        throw new NearfarError('unavailable', `${place.location}/${path} is another one by now`, { details: error.details });
      // A bucket that is not there is no model that is not there.
      if (status === 404 && !/NoSuchBucket|bucket does not exist/i.test(error.message)) return { kind: 'missing', freshForMs };
      throw error;
    },
    async list(folder, { isDeep = false, signal } = {}) {
      const base = joinPath(place.prefix, folder);
      const prefix = base === '' ? '' : `${base}/`;
      const entries: StoreEntry[] = [];
      let token: string | undefined;
      do {
        const url = `${place.urlOf('')}?${listingQuery(prefix, { delimiter: isDeep ? undefined : '/', token })}`;
        const response = await request(url, {}, signal);
        if (response.status !== 200) throw await toStoreError(url, response);
        const content = { kind: 'content', etag: undefined, start: 0, body: response.body, freshForMs: 0 } as const;
        const page = parseListing(new TextDecoder().decode(await readAll(`the listing of ${place.location}`, content, longestPageBytes)));
        entries.push(...page.folders.map((key) => ({ path: key.slice(prefix.length) })));
        // Consoles make an object that stands for a folder.
        const files = page.files.filter(({ key }) => key.length > prefix.length && !key.endsWith('/'));
        entries.push(...files.map(({ key, bytes, etag }) => ({ path: key.slice(prefix.length), bytes, etag })));
        token = page.token;
      } while (token !== undefined);
      return entries;
    },
  };
}
