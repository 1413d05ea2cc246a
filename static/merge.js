/** Two people have edited one transcript: their changes in one, where they touched different segments. */

/** @typedef {{start: number, end: number, text: string, speaker?: string | null, sources?: number[]}} Segment */

/**
 * What makes two segments the same.
 * @param {Segment} segment
 */
const keyOf = ({ start, end, text, speaker }) => JSON.stringify([start.toFixed(3), end.toFixed(3), text.trim(), speaker ?? ""]);

/**
 * Where each segment of `base` is in `theirs`; -1: they changed it.
 * @param {Segment[]} base
 * @param {Segment[]} theirs
 * @returns {number[]}
 */
function places(base, theirs) {
  /** @type {Map<string, number[]>} */
  const known = new Map();
  theirs.forEach((segment, at) => {
    const key = keyOf(segment);
    known.set(key, [...known.get(key) ?? [], at]);
  });
  let last = -1;
  return base.map((segment) => {
    const at = known.get(keyOf(segment))?.find((place) => place > last) ?? -1;
    if (at >= 0) last = at;
    return at;
  });
}

/**
 * `mine`, whose sources are places in `base`, on top of `theirs`; null where both changed the same segments.
 * @param {Segment[]} base
 * @param {Segment[]} mine
 * @param {Segment[]} theirs
 * @returns {Segment[] | null} with sources that are places in `theirs`
 */
export function merge(base, mine, theirs) {
  const at = places(base, theirs);
  const own = (/** @type {Segment} */ { sources: [only, ...more] = [], ...segment }) => (
    only !== undefined && !more.length && base[only] && keyOf(segment) === keyOf(base[only]) ? only : -1);
  const result = [];
  let [b, t] = [0, 0];
  /** @type {Segment[]} */
  let changed = [];
  const flush = (/** @type {number} */ toBase, /** @type {number} */ toTheirs) => {
    const isMine = changed.length !== toBase - b || changed.some((one) => own(one) < 0);
    const isTheirs = toBase - b !== toTheirs - t || at.slice(b, toBase).some((place) => place < 0);
    if (isMine && isTheirs) return false;
    if (isMine) result.push(...changed.map((one) => ({ ...one, sources: (one.sources ?? []).map((source) => at[source]).filter((place) => place >= 0) })));
    else for (let place = t; place < toTheirs; place += 1) result.push({ ...bare(theirs[place]), sources: [place] });
    return true;
  };
  for (const segment of mine) {
    const source = own(segment);
    if (source < b || at[source] < 0) {
      changed.push(segment);
      continue;
    }
    if (!flush(source, at[source])) return null;
    result.push({ ...bare(theirs[at[source]]), sources: [at[source]] });
    [b, t, changed] = [source + 1, at[source] + 1, []];
  }
  return flush(base.length, theirs.length) ? result : null;
}

/** What a save takes of a segment. @param {Segment} segment */
function bare({ start, end, text, speaker }) {
  return { start, end, text, speaker: speaker ?? null };
}
