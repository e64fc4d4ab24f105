// The tags of the pictures that are shown, by frequency: a click filters by one.
import { make, say } from "./common.js"
import { Grid } from "./dataset_grid.js"

const ROW = 26

export class TagList {
  /**
   * @param {import("./dataset_model.js").DatasetModel} model
   * @param {{ only(tag: string, without: boolean): void, drop(tag: string): void }} acts
   */
  constructor(model, acts) {
    this.model = model
    this.acts = acts
    this.search = make("input", { type: "text", placeholder: say("Find a tag"), "aria-label": say("Find a tag") })
    this.order = make("select", { "aria-label": say("Order of the tags") },
      make("option", { value: "count" }, say("by frequency")), make("option", { value: "name" }, say("by name")))
    this.total = make("span", { class: "kiln-soft" })
    this.grid = new Grid({
      width: 0, height: ROW, label: say("Tags"), single: true,
      fill: (cell, item) => this.fill(cell, item),
      act: (item, event) => this.act(item, event),
    })
    this.element = make("section", { class: "kiln-tags", "aria-label": say("Tags") },
      make("div", { class: "kiln-row" }, this.search, this.order, this.total), this.grid.element)
    this.search.addEventListener("input", () => this.show())
    this.order.addEventListener("change", () => this.show())
    /** @type {[string, number][]} */
    this.tags = []
  }

  show() {
    const wanted = this.search.value.trim().toLowerCase()
    const tags = this.model.seen.tags
    this.tags = wanted ? tags.filter(([tag]) => tag.toLowerCase().includes(wanted)) : [...tags]
    if (this.order.value === "name") this.tags.sort((a, b) => a[0].localeCompare(b[0]))
    this.total.textContent = String(this.tags.length)
    this.grid.show(this.tags.map((_, at) => at))
  }

  /** @param {HTMLElement} cell @param {number} item */
  fill(cell, item) {
    if (!cell.firstChild) {
      cell.classList.add("kiln-tag")
      const drop = make("button", { type: "button", class: "kiln-drop", tabIndex: -1, textContent: "×" })
      cell.append(make("span", { class: "kiln-tag-name" }), make("span", { class: "kiln-soft" }), drop)
    }
    const [tag, count] = this.tags[item]
    const [name, number, drop] = /** @type {HTMLElement[]} */ ([...cell.children])
    name.textContent = tag
    number.textContent = String(count)
    drop.title = say("Remove from the pictures that are shown")
    drop.ariaLabel = say("Remove {tag}", { tag })
    cell.title = say("Click: only pictures with it. Ctrl+click: only those without it. Delete: remove it.")
    cell.setAttribute("aria-label", `${tag}, ${count}`)
  }

  /** @param {number} item @param {KeyboardEvent | MouseEvent} event */
  act(item, event) {
    const [tag] = this.tags[item]
    const onDrop = event instanceof MouseEvent && event.target instanceof HTMLElement && event.target.closest("button")
    if (onDrop || (event instanceof KeyboardEvent && ["Delete", "Backspace"].includes(event.key))) this.acts.drop(tag)
    else this.acts.only(tag, event.ctrlKey || event.metaKey)
  }
}

/**
 * A tag as a filter that means it and nothing else.
 * @param {string} tag
 */
export function quoted(tag) {
  const plain = /^[\p{L}\p{N}][\p{L}\p{N} _'-]*$/u.test(tag) && !/\b(AND|OR|NOT)\b/.test(tag)
  return plain ? tag : `"${tag.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`
}

/**
 * The operands of a filter's outermost AND. Where OR stands outside of brackets, which binds less, all is one of them.
 * @param {string} filter
 */
export function termsOf(filter) {
  /** @type {string[]} */
  const terms = []
  let [term, depth, either] = ["", 0, false]
  for (const [token] of filter.matchAll(/"(?:\\.|[^"\\])*"?|[()]|[^\s"()]+|\s+/g)) {
    depth += token === "(" ? 1 : token === ")" ? -1 : 0
    either ||= depth === 0 && token === "OR"
    if (depth === 0 && token === "AND") {
      terms.push(term.trim())
      term = ""
    } else {
      term += token
    }
  }
  terms.push(term.trim())
  return either ? [`(${filter.trim()})`] : terms.filter(Boolean)
}
