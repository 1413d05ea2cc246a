/** What was changed in a transcript: undone and redone, also over a save, and without losing what a row was made of. */

/** Rows `made` in place of `old`, behind the mark. @typedef {{mark: Comment, old: HTMLElement[], made: HTMLElement[]}} Part */
/** A speaker's name. @typedef {{id: string, before: string, after: string}} Naming */
/** One step of the user. @typedef {{parts: Part[], naming?: Naming}} Change */

/**
 * The ids of the segments that a row was made of, in the revision that the page edits.
 * @param {HTMLElement} row
 * @returns {number[]}
 */
export function sourcesOf(row) {
  return (row.dataset.sources ?? row.dataset.id ?? "").split(" ").filter(Boolean).map(Number);
}

/**
 * A part that is ready to be made: the rows stand beside each other on the page.
 * @param {HTMLElement[]} old
 * @param {HTMLElement[]} made
 * @returns {Part}
 */
export function partOf(old, made) {
  const mark = document.createComment("");
  old[0].before(mark);
  return { mark, old, made };
}

/** All changes of one text, in order. */
export class History {
  constructor() {
    /** @type {Change[]} */
    this.done = [];
    /** @type {Change[]} */
    this.undone = [];
    /** @type {Change | null} the last change that the service has */
    this.saved = null;
  }

  /** Whether the page has something that the service has not. */
  get isDirty() {
    return (this.done.at(-1) ?? null) !== this.saved;
  }

  /** @param {Change} change */
  make(change) {
    this.done.push(change);
    this.undone = [];
    for (const { mark, old, made } of change.parts) put(mark, old, made);
  }

  /** @returns {Change | undefined} */
  undo() {
    const change = this.done.pop();
    if (!change) return undefined;
    this.undone.push(change);
    for (const { mark, old, made } of change.parts.toReversed()) put(mark, made, old);
    return change;
  }

  /** @returns {Change | undefined} */
  redo() {
    const change = this.undone.pop();
    if (!change) return undefined;
    this.done.push(change);
    for (const { mark, old, made } of change.parts) put(mark, old, made);
    return change;
  }

  /**
   * Note what is being saved; what is changed until the answer comes stays unsaved.
   * @param {HTMLElement[]} rows  as they are sent: their places are their ids from then on
   * @returns {() => void} to be called once the service has them
   */
  snapshot(rows) {
    const top = this.done.at(-1) ?? null;
    const before = new Set(this.done);
    return () => {
      this.saved = top;
      this.renumber(rows, before);
    };
  }

  /**
   * Every row, also those that only an undo would bring back, says what it is made of in the revision that was saved.
   * @param {HTMLElement[]} rows
   * @param {Set<Change>} before  the changes that were in it
   */
  renumber(rows, before) {
    const ids = new Map(rows.map((row, id) => [row, id]));
    /** @type {Map<HTMLElement, HTMLElement[]>} towards the rows that were saved */
    const towards = new Map();
    for (const change of before) {
      for (const { old, made } of change.parts) for (const row of old) towards.set(row, made);
    }
    const all = new Set([...before, ...this.done, ...this.undone]);
    for (const change of all) {
      if (before.has(change)) continue;
      for (const { old, made } of change.parts) for (const row of made) towards.set(row, old);
    }
    /** @type {(row: HTMLElement) => number[]} */
    const sources = (row) => {
      const id = ids.get(row);
      return id === undefined ? (towards.get(row) ?? []).flatMap(sources) : [id];
    };
    for (const row of [...all].flatMap(({ parts }) => parts.flatMap(({ old, made }) => [...old, ...made]))) {
      if (!ids.has(row)) row.dataset.sources = [...new Set(sources(row))].join(" ");
    }
    for (const [row, id] of ids) {
      row.dataset.id = String(id);
      delete row.dataset.sources;
    }
  }
}

/**
 * Put `made` behind the mark, where `old` was.
 * @param {Comment} mark
 * @param {HTMLElement[]} old
 * @param {HTMLElement[]} made
 */
function put(mark, old, made) {
  for (const row of old) row.remove();
  mark.after(...made);
}
