/** Shares of a model's clients by label, in percent; those beyond the sum get the version that clients get without shares. */
export type Traffic = Readonly<Record<string, number>>;

/**
 * The label whose share a client falls into; undefined beyond the shares. A client has the same point of the whole for as long as the model has
 * its name, and shares lie side by side in the order of their labels: of two of them, the one that grows keeps the clients that it had.
 * @param client Whatever tells clients apart, such as a random number that each keeps.
 */
export function labelOfClient(traffic: Traffic, model: string, client: string): string | undefined {
  let rest = pointOf(`${model}\n${client}`);
  for (const [label, share] of Object.entries(traffic).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (rest < share) return label;
    rest -= share;
  }
  return undefined;
}

/** A number from 0 to below 100: FNV-1a over the UTF-16 units, its bits mixed by the last step of MurmurHash3. */
function pointOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32) * 100;
}
