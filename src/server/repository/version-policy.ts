/** Which versions of a model are loaded, besides those that labels name; names and meanings are TensorFlow Serving's. */
export type VersionPolicy =
  | { readonly kind: 'latest'; readonly count: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'specific'; readonly versions: readonly string[] };

/**
 * The versions to load out of those that exist, newest first. What a label names is loaded whatever the policy says, so that
 * `stable` and `canary` both answer.
 */
export function selectVersions(policy: VersionPolicy, existing: readonly string[], named: readonly string[]): readonly string[] {
  const newestFirst = [...existing].sort(compareVersions).reverse();
  const chosen = new Set([...choose(policy, newestFirst), ...named]);
  return newestFirst.filter((version) => chosen.has(version));
}

function choose(policy: VersionPolicy, newestFirst: readonly string[]): readonly string[] {
  switch (policy.kind) {
    case 'latest':
      return newestFirst.slice(0, policy.count);
    case 'all':
      return newestFirst;
    case 'specific':
      return policy.versions;
  }
}

/** Orders versions as the int64 numbers they are. */
export function compareVersions(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
