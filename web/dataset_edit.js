// The form that makes an edit: what it would do is shown before it is applied.
import { later, make, say } from "./common.js"

/**
 * What each kind of edit asks for: its words, then its fields by their keys.
 * @type {Record<string, { label: string, fields: Record<string, string> }>}
 */
const KINDS = {
  add: { label: "add", fields: { tags: "tags to add, with commas" } },
  remove: { label: "remove", fields: { tags: "tags to remove, * for any text" } },
  replace: { label: "replace", fields: { tags: "tags, * for any text", with: "by these tags" } },
  reorder: { label: "put first", fields: { tags: "tags that come first, in this order" } },
  regex: { label: "regular expression", fields: { pattern: "pattern of a whole tag", with: "new text, \\1 for a group" } },
}
const PLACES = { end: "at the end", start: "at the start", second: "behind the first tag" }
const ORDERS = { "": "the others as they are", alphabet: "the others by name", frequency: "the others by frequency" }

export class EditForm {
  /**
   * @param {import("./dataset_model.js").DatasetModel} model
   */
  constructor(model) {
    this.model = model
    this.kind = select(say("What to do"), Object.fromEntries(Object.entries(KINDS).map(([key, { label }]) => [key, label])))
    this.place = select(say("Where"), PLACES)
    this.order = select(say("Order of the others"), ORDERS)
    /** @type {Record<string, HTMLInputElement>} */
    this.fields = {}
    this.asked = make("span", { class: "kiln-row kiln-asked" })
    this.absorb = make("input", { type: "checkbox" })
    this.absorbed = make("label", { title: say("The trigger learns what these tags named, as Prune Tags does") },
      this.absorb, say("trigger learns them"))
    this.apply = make("button", { type: "submit", class: "kiln-do" }, say("Apply"))
    this.cancel = make("button", { type: "button" }, say("Clear"))
    this.words = make("span", { class: "kiln-soft", role: "status" })
    this.element = make("form", { class: "kiln-row kiln-edit", "aria-label": say("Edit tags") },
      this.kind, this.asked, this.place, this.order, this.absorbed, this.apply, this.cancel, this.words)
    this.kind.addEventListener("change", () => this.ask())
    this.cancel.addEventListener("click", () => this.clear())
    this.element.addEventListener("submit", (event) => {
      event.preventDefault()
      this.submit().catch((error) => {
        this.words.textContent = String(error)
      })
    })
    this.soon = later(() => this.model.setTrial(this.edit()), 150)
    this.element.addEventListener("input", () => this.soon())
    this.ask()
  }

  /** Ask for what this kind of edit needs; what was typed stays. */
  ask() {
    const kept = Object.fromEntries(Object.entries(this.fields).map(([key, field]) => [key, field.value]))
    const { fields } = KINDS[this.kind.value]
    this.fields = {}
    for (const [key, words] of Object.entries(fields)) {
      this.fields[key] = make("input", { type: "text", placeholder: say(words), "aria-label": say(words), value: kept[key] ?? "" })
    }
    this.asked.replaceChildren(...Object.values(this.fields))
    this.place.hidden = this.kind.value !== "add"
    this.order.hidden = this.kind.value !== "reorder"
    this.absorbed.hidden = this.kind.value !== "remove"
    this.soon()
  }

  /** The edit as it is written, about the pictures that are meant; null while something is missing. */
  edit() {
    const kind = this.kind.value
    /** @type {import("./dataset_model.js").Edit} */
    const edit = { do: kind }
    for (const [key, field] of Object.entries(this.fields)) edit[key] = field.value.trim()
    const free = kind === "replace" || kind === "regex" ? ["with"] : []
    if (kind === "reorder" && this.order.value) {
      edit.by = this.order.value
      if (!edit.tags) delete edit.tags
    }
    if (Object.entries(edit).some(([key, value]) => !value && !free.includes(key))) return null
    if (kind === "add" && this.place.value !== "end") edit.at = this.place.value === "second" ? 1 : this.place.value
    if (kind === "remove" && this.absorb.checked) edit.absorb = true
    return { ...edit, ...this.model.scope }
  }

  async submit() {
    const edit = this.edit()
    if (!edit || !this.model.id || this.model.broken || this.asking) return
    this.asking = true
    try {
      if (await this.model.fault(edit)) {
        this.model.setTrial(edit)
        return
      }
    } finally {
      this.asking = false
    }
    this.model.apply(edit)
    for (const field of Object.values(this.fields)) field.value = ""
    Object.values(this.fields)[0]?.focus()
  }

  clear() {
    for (const field of Object.values(this.fields)) field.value = ""
    this.model.setTrial(null)
  }

  /** Take a tag into the form: the one that was clicked last is often the one that is meant. @param {string} tag */
  take(tag) {
    const field = this.fields.tags
    if (field && this.kind.value !== "add" && (!field.value || field.dataset.taken === field.value)) {
      field.value = tag
      field.dataset.taken = tag
    }
  }

  /** Say what the edit would do. */
  show() {
    const { trial } = this.model.seen
    const [done] = trial.done ?? []
    const about = this.model.selected.size
      ? say("{count} selected", { count: this.model.selected.size })
      : say("all {count} shown", { count: this.model.seen.shown.length })
    const told = this.model.trial && done ? say("would change {count} of {about}", { count: done.changed, about }) : about
    this.words.textContent = this.model.broken || (this.model.trial && trial.error) || told
    this.words.classList.toggle("kiln-bad", Boolean(this.model.broken || (this.model.trial && trial.error)))
    this.apply.disabled = !this.model.id || Boolean(this.model.broken) || !this.edit()
  }
}

/**
 * @param {string} label
 * @param {Record<string, string>} choices
 */
function select(label, choices) {
  const options = Object.entries(choices).map(([value, words]) => make("option", { value }, say(words)))
  return make("select", { "aria-label": label }, ...options)
}
