/** What happens next: a binary heap by time, first come first where times are equal. */
export class EventQueue<Event> {
  readonly #heap: { readonly at: number; readonly order: number; readonly event: Event }[] = [];
  #order = 0;

  add(at: number, event: Event): void {
    const heap = this.#heap;
    const added = { at, order: this.#order++, event };
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above]!; // above the end
      if (isBefore(parent, added)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = added;
  }

  take(): { readonly at: number; readonly event: Event } | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++; // both lie inside
      if (isBefore(last, heap[below]!)) break;
      heap[place] = heap[below]!;
      place = below;
    }
    heap[place] = last;
    return first;
  }
}

function isBefore(a: { readonly at: number; readonly order: number }, b: { readonly at: number; readonly order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
