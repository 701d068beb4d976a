/** What came of measuring a candidate: more is better. */
export interface Score {
  readonly score: number;
}

export interface HalvingOptions<Candidate, Measured extends Score> {
  /** Tried in this order. */
  readonly candidates: readonly Candidate[];
  /** To be spent on all measurements together, in milliseconds. */
  readonly budgetMs: number;
  /**
   * Measures a candidate for a while.
   * @param previous What was found in the round before.
   */
  readonly measure: (candidate: Candidate, budgetMs: number, previous: Measured | undefined) => Promise<Measured>;
  /** Ends the search with what is known by then; what `measure` rejects with is dropped. */
  readonly signal: AbortSignal;
}

export interface Halved<Candidate, Measured extends Score> {
  /** Undefined where nothing was measured. */
  readonly best: { readonly candidate: Candidate; readonly measured: Measured } | undefined;
  /** In each round, in the order in which they were measured. */
  readonly rounds: readonly (readonly { readonly candidate: Candidate; readonly measured: Measured }[])[];
}

/** A third of the candidates is kept in each round: the default of Hyperband. */
export const keptPart = 3;

/** Rounds until one is left of so many. */
export function roundsOf(candidates: number): number {
  let rounds = 1;
  for (let left = candidates; left > keptPart; left = Math.ceil(left / keptPart)) rounds++;
  return rounds;
}

/**
 * Finds the best of many candidates by successive halving: each round has the same share of the budget, divided among the candidates that
 * are left, and the better third of them goes on. What is bad is seen soon and cheaply, what is good is measured long.
 * @remarks Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016, with the rate
 * of Li et al., "Hyperband", JMLR 18 (2018).
 */
export async function halve<Candidate, Measured extends Score>({
  candidates,
  budgetMs,
  measure,
  signal,
}: HalvingOptions<Candidate, Measured>): Promise<Halved<Candidate, Measured>> {
  type Found = { readonly candidate: Candidate; readonly measured: Measured };
  const rounds: Found[][] = [];
  const roundMs = budgetMs / roundsOf(candidates.length);
  let left: { readonly candidate: Candidate; readonly measured?: Measured }[] = candidates.map((candidate) => ({ candidate }));
  while (left.length > 0) {
    const found: Found[] = [];
    rounds.push(found);
    try {
      // The best of the round before come first: what is known of an unfinished round is then of those.
      for (const { candidate, measured: previous } of left) {
        signal.throwIfAborted();
        found.push({ candidate, measured: await measure(candidate, roundMs / left.length, previous) });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
      break;
    }
    if (left.length <= keptPart) break;
    left = [...found].sort(byScore).slice(0, Math.ceil(left.length / keptPart));
  }
  const last = rounds.findLast((found) => found.length > 0) ?? [];
  const [best] = [...last].sort(byScore);
  return { best, rounds: rounds.filter((found) => found.length > 0) };
}

function byScore(a: { readonly measured: Score }, b: { readonly measured: Score }): number {
  return b.measured.score - a.measured.score;
}
