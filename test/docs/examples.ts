import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '../support/packed.ts';

/** A fenced code block of the documentation. */
export interface Example {
  /** Path from the repository's root, and the line of the fence. */
  readonly name: string;
  readonly language: string;
  readonly code: string;
}

/** Every code block of README.md and docs/, but for records of decisions and generated reports. */
export function examples(...languages: readonly string[]): Example[] {
  const pages = ['docs', 'docs/deploy'].flatMap((folder) => readdirSync(join(repositoryRoot, folder)).map((name) => `${folder}/${name}`));
  return ['README.md', ...pages.filter((name) => name.endsWith('.md'))]
    .flatMap(examplesOf)
    .filter(({ language }) => languages.includes(language));
}

function examplesOf(page: string): Example[] {
  const text = readFileSync(join(repositoryRoot, page), 'utf8');
  return [...text.matchAll(/^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm)].map((match) => {
    const line = text.slice(0, match.index).split('\n').length;
    return { name: `${page}:${line}`, language: match[1] ?? '', code: match[2] ?? '' };
  });
}
