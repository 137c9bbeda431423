Nothing is called from inside rows.

CHECK-LABEL: kernel_2:
CHECK:       callq cmprt_gemm_f32@PLT
CHECK:       callq cmprt_inverse@PLT
CHECK:       callq cmprt_cholesky@PLT
CHECK:       callq cmprt_parallel@PLT
CHECK:       {{^}}kernel_2.rows0:
CHECK-NOT:   call
CHECK:       {{^}}kernel_2.rows1:
CHECK-NOT:   call
CHECK:       vmulps {{.*}}%ymm
CHECK-NOT:   call
CHECK:       vsubps {{.*}}%ymm
CHECK-NOT:   call
CHECK:       {{^}}kernel_2.rows2:
CHECK-NOT:   call
CHECK:       {{^}}kernel_2.rows3:
CHECK-NOT:   call
CHECK:       Lfunc_end
