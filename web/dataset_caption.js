// The picture in focus, large, and its caption to write by hand.
import { app } from "../../scripts/app.js"
import { ask, later, make, say } from "./common.js"
import { captionText } from "./dataset_card.js"
import { subjectOf } from "./dataset_graph.js"

/** What was written and not set in a dialog that is closed, by workflow, node, dataset and picture: the next begins so. */
let unset = /** @type {Map<string, string>} */ (new Map())

export class CaptionPanel {
  /** @param {import("./dataset_model.js").DatasetModel} model */
  constructor(model) {
    this.model = model
    this.image = make("img", { alt: "", class: "kiln-large" })
    this.name = make("strong", { class: "kiln-wrap" })
    this.facts = make("div", { class: "kiln-soft kiln-wrap" })
    this.text = make("textarea", { rows: 7, spellcheck: false, "aria-label": say("Caption of this picture") })
    this.tokens = make("span", { class: "kiln-soft" })
    this.save = make("button", { type: "button" }, say("Set caption"))
    this.element = make("section", { class: "kiln-caption", "aria-label": say("Picture") }, this.image, this.name,
      this.facts, this.text, make("div", { class: "kiln-row" }, this.save, this.tokens))
    this.shown = ""
    /** What is written and not yet set here. */
    this.drafts = new Map(unset)
    /** Dataset and picture that are shown. */
    this.key = ""
    this.counted = ""
    this.count = later(() => void this.countTokens(), 150)
    this.save.addEventListener("click", () => this.write())
    this.text.addEventListener("input", () => this.draft())
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.write()
    })
  }

  show() {
    const { model } = this
    const picture = model.pictures[model.focus]
    this.element.hidden = !picture
    if (!picture) return
    const caption = captionText(model.caption(model.focus))
    this.key = this.keyOf(picture.key)
    const draft = this.drafts.get(this.key)
    if (draft === caption) this.drafts.delete(this.key)
    const text = draft ?? caption
    // Written to the field only when it is another: the cursor stays.
    if (this.text.value !== text) this.text.value = text
    this.shown = caption
    const source = picture.mark ? model.picture(model.focus, 512) : ""
    if (this.image.dataset.shown !== source) {
      this.image.dataset.shown = source
      if (source) this.image.src = source
      else this.image.removeAttribute("src")
    }
    this.name.textContent = picture.key
    const facts = [
      `${picture.size[0]} × ${picture.size[1]} px`,
      picture.crop && say("crop {box}", { box: picture.crop.join(", ") }),
      say("bucket {width} × {height}", { width: picture.bucket[0], height: picture.bucket[1] }),
      say("{count} an epoch", { count: picture.repeats }),
      picture.reg && say("regularisation"),
      picture.masked && say("masked"),
      ...picture.steps,
    ]
    this.facts.textContent = facts.filter(Boolean).join(" · ")
    this.text.disabled = Boolean(model.broken)
    this.mark()
  }

  /**
   * What a draft is known by. The first Edit Tags behind a dataset may come with the first caption that is set, beside
   * drafts of others: it changes no name.
   * @param {string} picture
   */
  keyOf(picture) {
    const { id, edit, base } = this.model
    const further = base && edit && subjectOf(base.node, base.slot).edit !== edit ? edit.id : null
    return JSON.stringify([(app.rootGraph ?? app.graph).id, base?.node.id, base?.slot, further, id, picture])
  }

  /** The page is closed. */
  keep() {
    unset = new Map(this.drafts)
  }

  /** What is written stays with its picture until it is set, whatever is looked at meanwhile. */
  draft() {
    if (this.text.value === this.shown) this.drafts.delete(this.key)
    else this.drafts.set(this.key, this.text.value)
    this.mark()
  }

  mark() {
    this.save.disabled = this.text.value === this.shown || this.text.disabled
    this.count()
  }

  /** What is read beyond 75 tokens is another chunk, or lost: people watch the number while they write. */
  async countTokens() {
    const text = this.text.value
    if (text === this.counted) return
    this.counted = text
    const { tokens } = await ask("/tokens", { text }).catch(() => ({ tokens: null }))
    if (text === this.text.value) this.tokens.textContent = tokens == null ? "" : say("{count} tokens", { count: tokens })
  }

  /** Prose stays prose; else what stands between commas are tags. */
  write() {
    const { model } = this
    const place = model.pictures.findIndex(({ key }) => this.keyOf(key) === this.key)
    const picture = model.pictures[place]
    if (!picture || this.text.value === this.shown) return
    const text = this.text.value.trim()
    const tags = [...new Set(text.split(/[,\n]+/).map((tag) => tag.trim()).filter(Boolean))]
    const before = model.caption(place)
    const caption = before.prose && text ? { tags: before.tags, prose: text } : { tags }
    this.drafts.delete(this.key)
    this.shown = this.text.value
    model.apply({ do: "set", ...caption, records: [picture.key] })
    this.mark()
  }
}
