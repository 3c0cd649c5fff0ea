// SPDX-License-Identifier: Apache-2.0
#include "core/analyses/analysis.h"

#include <utility>

namespace adamant {

v1::TableCell Cell(double number) {
  v1::TableCell cell;
  cell.set_number(number);
  return cell;
}

v1::TableCell Cell(const std::string& text) {
  v1::TableCell cell;
  cell.set_text(text);
  return cell;
}

void AddColumn(v1::AnalysisTable& table, const std::string& name, const std::string& unit) {
  v1::TableColumn* column = table.add_columns();
  column->set_name(name);
  column->set_unit(unit);
}

void AddRow(v1::AnalysisTable& table, std::vector<v1::TableCell> cells) {
  v1::TableRow* row = table.add_rows();
  for (v1::TableCell& cell : cells) *row->add_cells() = std::move(cell);
}

}  // namespace adamant
