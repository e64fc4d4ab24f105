// Choosing a preset on the Recipe node fills in the node's own settings.
import { app } from "../../scripts/app.js"

const NODE = "KilnRecipe"
/** @type {Record<string, Record<string, any>>} */
let presets = {}

app.registerExtension({
  name: "kiln.preset",

  beforeRegisterNodeDef(_nodeType, nodeData) {
    if (nodeData.name === NODE) presets = nodeData.input.required?.preset?.[1]?.presets ?? {}
  },

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return
    const widgets = node.widgets ?? []
    const chooser = widgets.find((widget) => widget.name === "preset")
    if (!chooser) return
    const before = chooser.callback
    chooser.callback = function (name, ...rest) {
      const settings = presets[name] ?? {}
      for (const widget of widgets) {
        if (widget !== chooser && widget.name in settings) widget.value = settings[widget.name]
      }
      node.setDirtyCanvas(true, true)
      return before?.call(this, name, ...rest)
    }
  },
})
