Nothing is called from inside rows.

CHECK-LABEL: kernel_3:
CHECK:       callq cmprt_syrk_f32@PLT
CHECK:       callq cmprt_inverse_factor@PLT
CHECK:       callq cmprt_parallel@PLT
CHECK:       {{^}}kernel_3.rows0:
CHECK-NOT:   call
CHECK:       {{^}}kernel_3.rows1:
CHECK-NOT:   call
CHECK:       vmulps {{.*}}%ymm
CHECK-NOT:   call
CHECK:       vsubps {{.*}}%ymm
CHECK-NOT:   call
CHECK:       {{^}}kernel_3.rows2:
CHECK-NOT:   call
CHECK:       Lfunc_end
