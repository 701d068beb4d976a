import * as v from 'valibot';
import { NearfarError } from '../../../core/index.ts';
import { display, freshness, type SendRequest, startOf, toStoreError } from './http-request.ts';
import { type RepositoryStore, readAll, type StoreAnswer, type StoreEntry } from './store.ts';

export interface HttpStoreOptions {
  readonly send: SendRequest;
  /** Value of the Authorization header, sent to the store's own host. */
  readonly authorization?: string | undefined;
}

/** An index of a folder of models is no longer than this. */
const longestIndexBytes = 4 * 2 ** 20;

const indexSchema = v.object({ models: v.array(v.string()) });
/** nginx's `autoindex_format json`. */
const autoindexSchema = v.array(v.object({ name: v.string(), type: v.string() }));

/**
 * A repository behind a web server. HTTP has no listing: the models of a folder are those of its `models.json`
 * (`{"models": ["everyday10"]}`, which a nearfar server has, too), else the links of the index that the web server makes of a folder.
 */
export function openHttpStore(location: string, { send, authorization }: HttpStoreOptions): RepositoryStore {
  const base = location.replace(/\/+$/, '');
  const urlOf = (path: string) =>
    [
      base,
      ...path
        .split('/')
        .filter((segment) => segment !== '')
        .map(encodeURIComponent),
    ].join('/');
  const request = async (url: string, headers: Readonly<Record<string, string>>, signal: AbortSignal | undefined) => {
    const all = new Headers({ 'accept-encoding': 'identity', ...headers, ...(authorization !== undefined && { authorization }) });
    return send(url, all, signal);
  };

  const read = async (url: string, { ifNoneMatch, start = 0, ifRange, isFresh, signal }: Parameters<RepositoryStore['read']>[1] = {}) => {
    const response = await request(
      url,
      {
        ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch }),
        ...(start > 0 && { range: `bytes=${start}-` }),
        ...(start > 0 && ifRange !== undefined && { 'if-range': ifRange }),
        ...(isFresh && { 'cache-control': 'no-cache' }),
      },
      signal,
    );
    const { status, headers, body } = response;
    const freshForMs = freshness(headers);
    if (status === 200 || status === 206) {
      const content: StoreAnswer = {
        kind: 'content',
        etag: headers.get('etag') ?? undefined,
        start: startOf(status, headers),
        body,
        freshForMs,
      };
      return content;
    }
    if (status === 304 || status === 404 || status === 410) {
      await response.discard();
      const answer: StoreAnswer = { kind: status === 304 ? 'unchanged' : 'missing', freshForMs };
      return answer;
    }
    throw await toStoreError(url, response);
  };

  return {
    location: base,
    read: (path, options) => read(urlOf(path), options),
    async list(folder, { isDeep = false, signal } = {}) {
      if (isDeep)
        throw new NearfarError('unsupported', `${display(urlOf(folder))}: files cannot be listed over HTTP; it needs a versions.json`);
      for (const url of [urlOf(`${folder}/models.json`), `${urlOf(folder)}/`]) {
        const answer = await read(url, { signal });
        if (answer.kind === 'content') return parseIndex(url, new TextDecoder().decode(await readAll(url, answer, longestIndexBytes)));
      }
      throw new NearfarError(
        'not-found',
        `${display(urlOf(folder))} has neither a models.json nor an index: which models are there is not known`,
      );
    },
  };
}

function parseIndex(url: string, text: string): readonly StoreEntry[] {
  const folders = (names: readonly string[]) => [...new Set(names)].filter(isName).map((name) => ({ path: `${name}/` }));
  try {
    const json: unknown = JSON.parse(text);
    const own = v.safeParse(indexSchema, json);
    if (own.success) return folders(own.output.models);
    const nginx = v.safeParse(autoindexSchema, json);
    if (nginx.success) return folders(nginx.output.filter(({ type }) => type === 'directory').map(({ name }) => name));
  } catch {
    const links = [...text.matchAll(/<a\s[^>]*href="([^"?#]+)\/"/gi)].map(([, link = '']) => link.replace(/^\.\//, ''));
    if (/<html|<pre|<ul|<a\s/i.test(text)) return folders(links.map(decodeLink));
  }
  throw new NearfarError(
    'invalid-argument',
    `${display(url)} is no index of models; expected {"models": ["name", …]} or a page with a link to each`,
  );
}

function decodeLink(link: string): string {
  try {
    return decodeURIComponent(link);
  } catch {
    return '';
  }
}

/** A name that is one segment of a path. */
function isName(name: string): boolean {
  return name !== '' && !name.startsWith('.') && !/[/\\\0:]/.test(name);
}
